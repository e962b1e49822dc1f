"""Names of data sets and of their versions: `digits`, `digits@2`, `digits@2/train.csv`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from kladml.errors import DataError

LATEST = "latest"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class DatasetReference:
    """A data set, one of its versions, or a part of one.

    Attributes:
        name: Name of the data set.
        version: Number of the version, from 1; None for the latest.
        path: File or folder in the version; empty for all of it.
    """

    name: str
    version: int | None = None
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name`, `name@n`, `name@latest`, or one of the latter two with `/path`.

        Raises:
            DataError: The text is no such reference.
        """
        whole, _, path = text.partition("/")
        name, at, version = whole.partition("@")
        if path and not at:
            problem = f"'{text}' does not say which version of '{name}' the file is of"
            raise DataError(problem, next_step=f"write {name}@1/{path}, or {name}@{LATEST}/{path}")
        check_name(name)
        if at and version != LATEST and not _VERSION.fullmatch(version):
            problem = f"'{text}' is no version of a data set"
            raise DataError(problem, next_step=f"write {name}@1, or just {name} for the latest")
        if path.endswith("/") or "" in path.split("/")[:-1] or ".." in path.split("/"):
            problem = f"'{path}' is no file of a data set"
            raise DataError(problem, next_step=f"'kladml data show {whole}' lists its files")
        return cls(name, None if version in ("", LATEST) else int(version), path)

    def at(self, version: int) -> Self:
        """Return the same reference to another version."""
        return replace(self, version=version)

    def __str__(self) -> str:
        """Return the reference as `parse` reads it."""
        version = f"@{self.version or LATEST}" if self.version or self.path else ""
        return f"{self.name}{version}{'/' if self.path else ''}{self.path}"


def check_name(name: str) -> str:
    """Return the name of a data set if it can be one.

    Raises:
        DataError: It is empty or too long, or holds a slash, a dot, a space or a control character.
    """
    if not _NAME.fullmatch(name):
        problem = f"{name!r} cannot be the name of a data set"
        raise DataError(problem, next_step="use up to 100 letters, digits, '_' and '-', starting with a letter")
    return name


def looks_like_reference(text: str) -> bool:
    """Tell whether a text can only mean a data set, and no file or function."""
    whole, _, path = text.partition("/")
    name, at, _ = whole.partition("@")
    return bool(_NAME.fullmatch(name)) and (bool(at) or not path)
