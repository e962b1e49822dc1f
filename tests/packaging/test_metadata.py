"""What the wheels say about themselves: dependencies, entry points, Python versions, licence."""

from __future__ import annotations

import configparser

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


def named(requirement: Requirement) -> str:
    """A requirement as the table writes it: ours with their version, others by name and extras alone."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    pin = str(requirement.specifier) if requirement.name.startswith("kladml-") else ""
    return f"{requirement.name}{extras}{pin}"


def requirements(distribution, archives):
    lines = archives.metadata(distribution.name).get_all("Requires-Dist", [])
    return [Requirement(line) for line in lines]


def test_dependencies_are_exactly_the_tables(distribution, archives):
    declared = {named(line) for line in requirements(distribution, archives) if line.marker is None}
    assert declared == distribution.depends_on


def test_extras_are_exactly_the_tables(distribution, archives):
    declared: dict[str, set[str]] = {}
    for name in archives.metadata(distribution.name).get_all("Provides-Extra", []):
        declared[name] = {
            named(line)
            for line in requirements(distribution, archives)
            if line.marker is not None and line.marker.evaluate({"extra": name})
        }
    assert declared == distribution.extras


def test_dependencies_of_others_have_a_lower_bound(distribution, archives):
    others = [line for line in requirements(distribution, archives) if not line.name.startswith("kladml")]
    assert [str(line) for line in others if not any(">" in each.operator for each in line.specifier)] == []


def test_entry_points_are_exactly_the_tables(distribution, archives):
    declared = set()
    if distribution.entry_points:
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str
        parser.read_string(archives.described_text(distribution.name, "entry_points.txt"))
        declared = {(group, *item) for group in parser.sections() for item in parser.items(group)}
    assert declared == distribution.entry_points


def test_modules_of_the_entry_points_are_in_the_wheel(package, archives):
    modules = {value.partition(":")[0].replace(".", "/") + ".py" for _, _, value in package.entry_points}
    assert modules <= archives.wheel_files(package.name)


def test_name_pythons_and_licence(distribution, archives):
    metadata = archives.metadata(distribution.name)
    assert metadata["Name"] == distribution.name
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(">=3.11,<3.14")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    classifiers = metadata.get_all("Classifier")
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert "Typing :: Typed" in classifiers


def test_page_on_the_index_is_the_readme(distribution, archives):
    metadata = archives.metadata(distribution.name)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata.get_payload().strip() == (distribution.folder / "README.md").read_text(encoding="utf-8").strip()
