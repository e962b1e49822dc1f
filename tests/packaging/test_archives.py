"""What the wheels and the sdists hold: all of the package, what describes it, and nothing else."""

from __future__ import annotations

import subprocess
import zipfile

import pytest


def test_wheel_holds_exactly_the_files_of_src(distribution, archives):
    assert archives.wheel_files(distribution.name) == distribution.sources


def test_package_in_the_wheel_is_marked_as_typed(package, archives):
    assert f"{package.package}/py.typed" in archives.wheel_files(package.name)
    assert f"{package.package}/__init__.py" in archives.wheel_files(package.name)


def test_wheel_has_one_package_of_the_expected_name(package, archives):
    assert {path.partition("/")[0] for path in archives.wheel_files(package.name)} == {package.package}


def test_wheel_describes_itself_and_carries_the_licence(distribution, archives):
    expected = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}
    if distribution.entry_points:
        expected.add("entry_points.txt")
    assert archives.described(distribution.name) == expected
    assert "Apache License" in archives.described_text(distribution.name, "licenses/LICENSE")


def test_sdist_holds_the_sources_and_what_describes_them(distribution, archives):
    described = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    expected = described | {f"src/{path}" for path in distribution.sources}
    # hatchling adds the repository's ignore file, so that a build from the sdist ignores the same.
    assert archives.sdist_files(distribution.name) - {".gitignore"} == expected


def test_licence_is_the_same_in_every_folder(distribution, pytestconfig):
    licence = (distribution.folder / "LICENSE").read_bytes()
    assert licence == (pytestconfig.rootpath / "LICENSE").read_bytes()


def test_contract_kit_ships_in_the_wheel_of_the_core(archives):
    with zipfile.ZipFile(archives.wheel("kladml-core")) as wheel:
        assert "kladml/testing/__init__.py" in wheel.namelist()


def test_building_leaves_nothing_in_the_tree(distribution, archives):
    assert archives.wheel(distribution.name).is_file()
    assert [path for junk in ("dist", "build", "*.egg-info") for path in distribution.folder.glob(junk)] == []
    assert list(distribution.folder.glob("src/*.egg-info")) == []


def test_no_junk_is_under_version_control(pytestconfig):
    listing = subprocess.run(
        ["git", "ls-files"], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    junk = ("__pycache__", ".pyc", ".egg-info", ".DS_Store", ".kladml/", "mlruns", ".ipynb_checkpoints")
    assert [path for path in listing.stdout.splitlines() if any(name in path for name in junk)] == []
