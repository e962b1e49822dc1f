"""The settings of the console publisher."""

from __future__ import annotations

from dataclasses import dataclass, field

STYLES = ("auto", "live", "plain")


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Settings of the publisher `console`."""

    style: str = field(
        default="auto",
        metadata={
            "doc": "live is a progress bar, plain is lines; auto is live on a terminal and plain elsewhere.",
            "choices": STYLES,
        },
    )
    seconds_between_lines: float = field(
        default=30.0,
        metadata={"doc": "Least seconds between two plain lines about steps within an epoch.", "least": 0},
    )
