"""What is known of the content of a version: its columns or arrays, its rows and its labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or an array.

    Attributes:
        name: Its name.
        type: Type of its values, such as `int64`, `float32` or `string`.
        shape: Shape of one row's value; empty for a single value.
        missing: How many values are missing.
    """

    name: str
    type: str
    shape: tuple[int, ...] = ()
    missing: int = 0

    def __str__(self) -> str:
        """Return the type as people read it: `float32[8, 8]`."""
        return f"{self.type}{list(self.shape)}" if self.shape else self.type


@dataclass(frozen=True, slots=True)
class Schema:
    """The content of a version.

    Attributes:
        format: One of `kladml.datasets.formats.FORMATS`.
        rows: How many rows, samples or images; None where that is not known.
        columns: The columns or arrays, in their order.
        target: The column with the targets, or None.
        labels: How many rows each label has, where there are targets with few different values.
    """

    format: str
    rows: int | None = None
    columns: tuple[Column, ...] = ()
    target: str | None = None
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def types(self) -> dict[str, str]:
        """The type of each column by its name."""
        return {column.name: column.type for column in self.columns}

    def column(self, name: str) -> Column | None:
        """Return a column by its name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as plain data."""
        return asdict(self) | {"columns": [asdict(column) | {"shape": [*column.shape]} for column in self.columns]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Read what `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        columns = tuple(
            Column(str(each["name"]), str(each["type"]), tuple(map(int, each["shape"])), int(each["missing"]))
            for each in content["columns"]
        )
        rows, target = content["rows"], content["target"]
        labels = {str(label): int(count) for label, count in content["labels"].items()}
        return cls(
            str(content["format"]),
            None if rows is None else int(rows),
            columns,
            None if target is None else str(target),
            labels,
        )
