"""The index of installed plugins: read from metadata, nothing is imported."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from kladml.log import get_logger
from kladml.plugins.kinds import KINDS, NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importlib_metadata import Distribution, EntryPoint

DISABLED_VARIABLE = "KLADML_DISABLED_PLUGINS"

_FIELD = re.compile("^(Name|Version):(.+)$", re.MULTILINE)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class PluginEntry:
    """One entry point of one distribution.

    Attributes:
        kind: Name of the kind.
        name: What users type.
        distribution: The distribution that installed it.
        version: The version of that distribution.
        value: The module with the hook implementation, as the entry point gives it.
        disabled: Whether `KLADML_DISABLED_PLUGINS` switches it off.
    """

    kind: str
    name: str
    distribution: str
    version: str
    value: str
    disabled: bool = False

    @property
    def owner(self) -> str:
        """The distribution and its version, as errors name it."""
        return f"{self.distribution} {self.version}"

    @property
    def valid_name(self) -> bool:
        """Whether the name keeps the naming policy."""
        return NAME_PATTERN.fullmatch(self.name) is not None

    def is_from(self, distribution: str) -> bool:
        """Tell whether a distribution's name, in any of its spellings, is that of this entry's distribution."""
        return _canonical(self.distribution) == _canonical(distribution)

    def __str__(self) -> str:
        """Return `kind/name`."""
        return f"{self.kind}/{self.name}"


class PluginIndex:
    """All plugins that are installed, in the order of kind, name and distribution.

    Args:
        entries: The entries of the index.
    """

    def __init__(self, entries: Iterable[PluginEntry]) -> None:
        self.entries = tuple(sorted(entries))

    @classmethod
    def scan(cls, disabled: Iterable[str] | None = None) -> Self:
        """Read the metadata of every installed distribution, once.

        A distribution whose metadata is damaged is reported and left out; it does not hide the others.

        Args:
            disabled: What is switched off: `kind/name`, or a distribution for everything that it brings. The
                default reads the comma-separated environment variable `KLADML_DISABLED_PLUGINS`.
        """
        if disabled is None:
            disabled = os.environ.get(DISABLED_VARIABLE, "").split(",")
        off = [word.strip() for word in disabled if word.strip()]
        kinds = {kind.group: kind.name for kind in KINDS.values()}
        entries = []
        owners: dict[Distribution, tuple[str, str]] = {}
        for point in _entry_points():
            if point.group not in kinds or point.dist is None:
                continue
            try:
                if point.dist not in owners:
                    owners[point.dist] = _name_and_version(point.dist)
            except (LookupError, OSError, ValueError) as error:
                place = point.dist.locate_file("")
                log.warning(f"{point.group} '{point.name}' is left out, its metadata is damaged: {error} (in {place})")
                continue
            entry = PluginEntry(kinds[point.group], point.name, *owners[point.dist], point.value)
            switched_off = any(word == str(entry) or entry.is_from(word) for word in off)
            entries.append(replace(entry, disabled=switched_off))
        return cls(entries)

    def of_kind(self, kind: str) -> list[PluginEntry]:
        """Return the entries of a kind."""
        return [entry for entry in self.entries if entry.kind == kind]


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read two fields; the whole metadata takes the import of Python's mail package and reading all that is in it."""
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    found = dict(_FIELD.findall(head))
    if len(found) < 2:  # noqa: PLR2004 - both: an older form of metadata, or it is damaged
        return distribution.metadata["Name"], distribution.metadata["Version"]
    return found["Name"].strip(), found["Version"].strip()


def _entry_points() -> Iterable[EntryPoint]:
    """Return all entry points; where one distribution's cannot be read, those of all others."""
    import importlib_metadata

    try:
        return importlib_metadata.entry_points()
    except (TypeError, ValueError, OSError):
        return _readable_entry_points()


def _readable_entry_points() -> list[EntryPoint]:
    import importlib_metadata

    points: dict[str, list[EntryPoint]] = {}
    for distribution in importlib_metadata.distributions():
        name = "a distribution without a name"
        try:
            name = distribution.name
            # The first on the path is the one that imports see.
            if _canonical(name) not in points:
                points[_canonical(name)] = list(distribution.entry_points)
        except (LookupError, TypeError, ValueError, OSError) as error:
            log.warning(f"the plugins of {name} are left out, its metadata is damaged: {error}")
    return [point for found in points.values() for point in found]


def _canonical(distribution: str) -> str:
    """Return the spelling that the package index compares names by."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
