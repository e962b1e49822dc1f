"""The eight pyproject files agree with one another and with the folders they lie in."""

from __future__ import annotations

import ast
import re

from packaging.version import Version

OLD_KLADML_ON_THE_INDEX = Version("0.13.1")


def test_every_folder_with_a_project_is_one_of_the_eight(pytestconfig):
    root = pytestconfig.rootpath
    assert sorted(path.parent.name for path in root.glob("*/pyproject.toml")) == [
        "kladml-backends-aws",
        "kladml-backends-console",
        "kladml-backends-local",
        "kladml-backends-mlflow",
        "kladml-backends-redis",
        "kladml-cli",
        "kladml-core",
    ]


def test_folder_is_named_like_the_distribution(package):
    assert package.pyproject["project"]["name"] == package.folder.name == package.name


def test_versions_are_in_lockstep(distribution, archives):
    versions = {distribution.pyproject["project"]["version"], archives.metadata(distribution.name)["Version"]}
    assert len(versions) == 1
    assert archives.wheel(distribution.name).is_file()


def test_the_older_kladml_on_the_index_is_never_preferred(distribution):
    assert Version(distribution.pyproject["project"]["version"]) > OLD_KLADML_ON_THE_INDEX


def test_a_version_in_the_code_is_the_projects_own(package):
    tree = ast.parse((package.folder / "src" / package.package / "__init__.py").read_text(encoding="utf-8"))
    stated = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and any(isinstance(name, ast.Name) and name.id == "__version__" for name in node.targets)
    ]
    assert set(stated) <= {package.pyproject["project"]["version"]}


def test_changelog_has_an_entry_for_the_version(distribution):
    text = (distribution.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", text, flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == distribution.pyproject["project"]["version"]


def test_tests_of_each_distribution_have_their_own_dependency_group(package):
    assert any(line.startswith("pytest") for line in package.pyproject["dependency-groups"]["test"])


def test_constraints_name_releases_and_nothing_local(pytestconfig):
    lines = (pytestconfig.rootpath / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    assert {"torch==2.13.0", "mlflow==3.17.2", "mlflow-skinny==3.17.2"} <= set(pins)
