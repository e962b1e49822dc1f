"""Hearing what a run publishes, without holding up the screen."""

from __future__ import annotations

from collections import deque
from threading import Event, Thread
from typing import TYPE_CHECKING

from kladml_cli.run_listening import listener_of, points_of

if TYPE_CHECKING:
    from kladml.history.series import Point
    from kladml.interfaces import CatalogRun
    from kladml_cli.run_place import RunPlace

_WAIT = 0.5
"""Seconds after which whoever stopped listening is noticed."""
_MOST_POINTS = 100_000


class Hearing:
    """Listens to the publisher of a run in a thread of its own, until the run ends or `stop` is called.

    Args:
        place: Where the run is.
        run: The run.

    Attributes:
        publisher: The publisher that is listened to, or None.
        problem: Why nothing is heard (any more), as a sentence; empty while all is well.
        has_ended: Whether the end of the run was heard.
    """

    def __init__(self, place: RunPlace, run: CatalogRun) -> None:
        self.publisher: str | None = None
        self.problem = ""
        self.has_ended = False
        self._place = place
        self._run = run
        self._points: deque[Point] = deque(maxlen=_MOST_POINTS)
        self._stopped = Event()
        self._thread = Thread(target=self._listen, name="kladml-ui-hearing", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return not self._thread.is_alive()

    def take(self) -> list[Point]:
        """Return the values that were heard since the last call."""
        return [self._points.popleft() for _ in range(len(self._points))]

    def stop(self) -> None:
        """Listen no longer; the thread ends by itself."""
        self._stopped.set()

    def _listen(self) -> None:
        from kladml.errors import KladMLError

        try:
            with self._place.open() as opened:
                name, listener = listener_of(opened, self._run, self._complain)
            if listener is None:
                return
            with listener:
                self.publisher = name
                while not (self._stopped.is_set() or self.has_ended):
                    message = listener.next(_WAIT)
                    if message is not None:
                        self._points.extend(points_of(message))
                        self.has_ended = message["event"] == "run_ended"
        except KladMLError as error:
            self._complain(str(error))
        finally:
            self.publisher = None

    def _complain(self, problem: str) -> None:
        self.problem = f"{problem}; the tracker's records are followed instead"
