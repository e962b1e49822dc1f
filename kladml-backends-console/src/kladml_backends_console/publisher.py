"""A run's progress on the console."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from kladml.errors import PublisherError, WrongTypeError
from kladml.interfaces import PublisherInterface
from kladml_backends_console.display import Display, PlainDisplay
from kladml_backends_console.progress import RunProgress
from kladml_backends_console.settings import STYLES, ConsoleSettings
from kladml_backends_console.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWNER = "kladml-backends-console"


class ConsolePublisher(PublisherInterface):
    """Shows a run on standard error: a live progress bar on a terminal, plain lines elsewhere.

    ```python
    with ConsolePublisher() as publisher:
        publisher.publish("kladml:default/default/digits@3", {"event": "step", "epoch": 1, "step": 10, "loss": 0.25})
    ```

    Each finished epoch leaves a line, and the end of the run a summary: its metrics, where its files are and
    how to look at it. `NO_COLOR` is respected.

    Args:
        style: `live`, `plain`, or `auto` for what suits standard error.
        seconds_between_lines: Least seconds between two plain lines about steps within an epoch.

    Raises:
        WrongTypeError: There is no such style, or the seconds are less than 0.
    """

    settings_class: ClassVar[type[ConsoleSettings]] = ConsoleSettings

    def __init__(self, style: str = "auto", seconds_between_lines: float = 30.0) -> None:
        if style not in STYLES:
            problem = f"publisher.console.style '{style}' is unknown"
            raise WrongTypeError(problem, owner=OWNER, next_step=f"choose one of {', '.join(STYLES)}")
        if not seconds_between_lines >= 0:
            problem = f"publisher.console.seconds_between_lines is {seconds_between_lines}"
            raise WrongTypeError(problem, owner=OWNER, next_step="choose 0 or more")
        self._style = style
        self._seconds_between_lines = seconds_between_lines
        self._display: Display | None = None
        self._progress = RunProgress()

    def check(self) -> None:
        """Prove that there is a standard error to write to.

        Raises:
            PublisherError: There is none, or it is closed.
        """
        if sys.stderr is None or sys.stderr.closed:
            problem = "there is no standard error to show the progress on"
            raise PublisherError(problem, owner=OWNER, next_step="select another publisher, or none")

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Show what a message tells; what is unknown is ignored.

        Raises:
            PublisherError: It cannot be written, or the message lacks what its event says it has.
        """
        event = message.get("event")
        if event == "run_started":
            self._progress = RunProgress()
        with _as_publisher_errors(event):
            self._progress.take(channel, message)
            self._show(event, message)

    def close(self) -> None:
        """Leave the terminal as it was found: no bar, and the cursor shown."""
        if self._display is not None:
            with _as_publisher_errors("close"):
                self._display.close()

    def _show(self, event: Any, message: Mapping[str, Any]) -> None:
        display = self._display = self._display or self._new_display()
        if event == "run_started":
            display.show_start(self._progress)
        elif event == "step":
            display.show_step(self._progress)
        elif event == "epoch_ended":
            display.show_epoch(self._progress)
        elif event == "run_ended":
            display.show_end(Summary.of(self._progress.address, message))

    def _new_display(self) -> Display:
        if self._style == "live" or (self._style == "auto" and _is_capable_terminal()):
            from kladml_backends_console.live_display import LiveDisplay

            return LiveDisplay()
        return PlainDisplay(self._seconds_between_lines)


def _is_capable_terminal() -> bool:
    """Tell whether standard error is a terminal that can draw a bar in place."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr.isatty() and not is_dumb


@contextmanager
def _as_publisher_errors(event: Any) -> Iterator[None]:
    """Turn what may go wrong with a stream or a message into a `PublisherError`."""
    try:
        yield
    except (OSError, ValueError, AttributeError) as error:
        problem = f"standard error takes no message '{event}': {error}"
        raise PublisherError(problem, owner=OWNER, next_step="the run goes on without its progress here") from error
    except (KeyError, TypeError) as error:
        problem = f"a message '{event}' lacks something or has it in another form: {type(error).__name__}: {error}"
        raise PublisherError(problem, owner=OWNER) from error
