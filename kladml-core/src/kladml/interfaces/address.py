"""Addresses of what stands in a workspace: `project`, `project/family`, `project/family/experiment@n`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from kladml.errors import AddressError

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")

LEVELS = ("project", "family", "experiment")
"""The levels of the hierarchy, from the top down."""


def _check_names(names: tuple[str, ...]) -> None:
    for level, name in zip(LEVELS, names, strict=False):
        if not _PART.fullmatch(name) or name.endswith((".", " ")):
            problem = f"{name!r} cannot be the name of {'an' if level == 'experiment' else 'a'} {level}"
            raise AddressError(
                problem,
                next_step="use up to 100 letters, digits, '.', '_', '-' or spaces, starting with a letter or digit",
            )


@dataclass(frozen=True, slots=True, order=True)
class ExperimentAddress:
    """Where an experiment stands in the workspace.

    Attributes:
        project: Name of the project.
        family: Name of the family of models in the project.
        experiment: Name of the experiment in the family.
    """

    project: str
    family: str
    experiment: str

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            AddressError: A name is empty, too long, or holds a slash, an `@` or a control character.
        """
        _check_names((self.project, self.family, self.experiment))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `project/family/experiment`, or a bare `experiment` of the default project and family."""
        parts = text.split("/")
        if len(parts) == 1:
            parts = ["default", "default", *parts]
        if len(parts) != len(LEVELS):
            problem = f"'{text}' is no experiment address"
            raise AddressError(problem, next_step="write project/family/experiment, or just experiment")
        return cls(*parts)

    @property
    def lineage(self) -> tuple[EntryAddress, ...]:
        """The addresses of the project, the family and the experiment itself."""
        return EntryAddress.of(self).lineage

    def __str__(self) -> str:
        """Return `project/family/experiment`."""
        return f"{self.project}/{self.family}/{self.experiment}"


@dataclass(frozen=True, slots=True, order=True)
class EntryAddress:
    """Where a project, a family or an experiment stands in the workspace.

    Attributes:
        names: The names from the project down: one for a project, two for a family, three for an experiment.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            AddressError: There are none or more than three, or one is empty, too long, or holds a slash, an `@` or
                a control character.
        """
        if not 1 <= len(self.names) <= len(LEVELS):
            problem = f"'{self}' is no address of a project, a family or an experiment"
            raise AddressError(problem, next_step="write Project, Project/Family or Project/Family/Experiment")
        _check_names(self.names)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `project`, `project/family` or `project/family/experiment`."""
        return cls(tuple(text.split("/")))

    @classmethod
    def of(cls, experiment: ExperimentAddress) -> Self:
        """Return the address of an experiment as one of the hierarchy."""
        return cls((experiment.project, experiment.family, experiment.experiment))

    @property
    def level(self) -> str:
        """One of `LEVELS`."""
        return LEVELS[len(self.names) - 1]

    @property
    def lineage(self) -> tuple[Self, ...]:
        """The addresses from the project down to this one, which is the last."""
        return tuple(type(self)(self.names[:length]) for length in range(1, len(self.names) + 1))

    def is_below(self, other: EntryAddress) -> bool:
        """Tell whether this stands in another one, at whatever depth."""
        return len(self.names) > len(other.names) and self.names[: len(other.names)] == other.names

    def __str__(self) -> str:
        """Return the names with slashes between them."""
        return "/".join(self.names)


@dataclass(frozen=True, slots=True)
class RunAddress:
    """Where a run stands in the workspace.

    Attributes:
        experiment: The experiment that the run belongs to.
        label: The number of the run in its experiment, from 1; or, where no catalog numbers runs, the first
            eight characters of the run's identifier.
    """

    experiment: ExperimentAddress
    label: str

    def __post_init__(self) -> None:
        """Check the label, which becomes the name of a folder.

        Raises:
            AddressError: The label is empty, too long, or holds anything but letters, digits, `.`, `_` and `-`.
        """
        if not _LABEL.fullmatch(self.label):
            problem = f"{self.label!r} cannot be the number of a run"
            raise AddressError(problem, next_step="kladml runs list shows those there are")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `project/family/experiment@n` or `experiment@n`."""
        experiment, at, label = text.rpartition("@")
        if not at:
            problem = f"'{text}' is no run address"
            raise AddressError(problem, next_step="write project/family/experiment@n, such as default/default/digits@3")
        return cls(ExperimentAddress.parse(experiment), label)

    @property
    def path(self) -> str:
        """The run's folder, relative to a bucket or a folder of runs."""
        return f"{self.experiment}/{self.label}"

    def __str__(self) -> str:
        """Return `project/family/experiment@n`."""
        return f"{self.experiment}@{self.label}"
