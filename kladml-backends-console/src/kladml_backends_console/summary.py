"""What is said of a run when it is over: the same on a terminal and in a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml_backends_console.wording import duration, first_names, number, place, ranked

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Summary:
    """The end of a run.

    Attributes:
        address: `project/family/experiment@n`.
        status: `FINISHED`, `FAILED` or `KILLED`.
        seconds: How long the run took.
        metrics: Names and values, aligned by whoever prints them, the most telling first.
        details: Labels and lines: where the files are and how to look at the run.
    """

    address: str
    status: str
    seconds: float
    metrics: list[tuple[str, str]]
    details: list[tuple[str, str]]

    @classmethod
    def of(cls, address: str, message: Mapping[str, Any]) -> Summary:
        """Read the message `run_ended`."""
        metrics = [(name, number(value)) for name, value in ranked(message.get("metrics", {})).items()]
        return cls(
            address,
            str(message.get("status", "ended")),
            float(message.get("seconds", 0.0)),
            metrics,
            [*_where(message.get("artifacts", {})), *(("look", hint) for hint in message.get("how_to_view", []))],
        )

    @property
    def headline(self) -> str:
        """What happened, in one line without the status's colour."""
        preposition = "in" if self.status == "FINISHED" else "after"
        return f"{self.address} {self.status} {preposition} {duration(self.seconds)}"

    def rows(self) -> list[str]:
        """Return the lines below the headline, aligned and indented, without colour."""
        names = max((len(name) for name, _ in self.metrics), default=0)
        values = max((len(value) for _, value in self.metrics), default=0)
        metrics = [f"  {name:<{names}}  {value:>{values}}" for name, value in self.metrics]
        return [*metrics, *(f"  {label:<5}  {line}" for label, line in self.details)]


def _where(artifacts: Mapping[str, str]) -> list[tuple[str, str]]:
    if not artifacts:
        return []
    folder = place(artifacts)
    if folder is None:
        return [("files", uri) for uri in artifacts.values()]
    return [("files", folder), ("", ", ".join(first_names(artifacts)))]
