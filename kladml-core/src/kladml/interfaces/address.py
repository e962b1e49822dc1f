"""Addresses of runs and experiments: `project/family/experiment@n`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from kladml.errors import AddressError

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")


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
        for kind, name in (("a project", self.project), ("a family", self.family), ("an experiment", self.experiment)):
            if not _PART.fullmatch(name) or name.endswith((".", " ")):
                problem = f"{name!r} cannot be the name of {kind}"
                raise AddressError(
                    problem,
                    next_step="use up to 100 letters, digits, '.', '_', '-' or spaces, starting with a letter or digit",
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `project/family/experiment`, or a bare `experiment` of the default project and family."""
        parts = text.split("/")
        if len(parts) == 1:
            parts = ["default", "default", *parts]
        if len(parts) != 3:  # noqa: PLR2004 - the three levels of the hierarchy
            problem = f"'{text}' is no experiment address"
            raise AddressError(problem, next_step="write project/family/experiment, or just experiment")
        return cls(*parts)

    def __str__(self) -> str:
        """Return `project/family/experiment`."""
        return f"{self.project}/{self.family}/{self.experiment}"


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
