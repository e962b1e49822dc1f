"""Calling several backends of a kind, so that one that fails stops neither the others nor the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.config.secrets import redact_text
from kladml.errors import BackendError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.runner.selection import Selected

log = get_logger(__name__)

FAILURES_UNTIL_OFF = 3
"""Failures in a row after which a backend is no longer called: each one may have waited for a time-out."""


class FanOut:
    """Passes calls on to every backend of a kind and reports failures, each backend's first at once.

    Args:
        members: The backends.
    """

    def __init__(self, members: Sequence[Selected]) -> None:
        self.members = list(members)
        self._failures = {id(member): 0 for member in members}
        self._in_a_row = dict(self._failures)
        self._last_error: dict[int, str] = {}
        self._left_out: list[BackendError] = []

    def check(self, *, optional: bool) -> None:
        """Run the preflight of every backend and drop those that fail it.

        Args:
            optional: Whether the run may do without any of them.

        Raises:
            BackendError: All failed, and the run may not do without.
        """
        errors = self._drop_failing("check")
        if errors and not self.members and not optional:
            raise errors[0]
        self._leave_out(errors)

    def start_run(self, experiment_name: str, run_name: str | None) -> str | None:
        """Start a run on every tracker and return the first one's identifier, or None without trackers.

        Raises:
            BackendError: Every tracker failed.
        """
        run_ids: list[str] = []
        had_members = bool(self.members)
        errors = self._drop_failing("start_run", experiment_name, run_name, results=run_ids)
        if had_members and not self.members:
            raise errors[0]
        self._leave_out(errors)
        return run_ids[0] if run_ids else None

    def call(self, method: str, *arguments: Any, always: bool = False) -> None:
        """Call a method of every backend; failures are reported and counted, and the run goes on.

        Args:
            method: Name of the method.
            arguments: Its arguments.
            always: Whether to call also those that failed too often, as the end of a run must.
        """
        for member in self.members:
            key = id(member)
            if self._in_a_row[key] >= FAILURES_UNTIL_OFF and not always:
                self._failures[key] += 1
                continue
            try:
                getattr(member.backend, method)(*arguments)
            except Exception as error:  # noqa: BLE001 - a dashboard must not end a training
                self._note(member, method, error)
            else:
                self._in_a_row[key] = 0

    def how_to_view(self, run_id: str) -> list[str]:
        """Return how to look at the run on each tracker that knows it, a line each."""
        hints: list[str] = []
        for member in self.members:
            try:
                hint = member.backend.how_to_view(run_id)
            except Exception as error:  # noqa: BLE001 - only a hint
                self._note(member, "how_to_view", error)
            else:
                hints += (hint or "").splitlines()
        return hints

    def close(self) -> None:
        """Close the backends that are not the caller's."""
        for member in self.members:
            if not member.borrowed:
                try:
                    member.backend.close()
                except Exception as error:  # noqa: BLE001 - the run is over
                    self._note(member, "close", error)

    def warnings(self) -> list[str]:
        """Return one sentence for each backend that was left out or failed."""
        return [f"the run went on without it: {error}" for error in self._left_out] + [
            f"{member}: {self._failures[id(member)]} calls failed, last: {self._last_error[id(member)]}"
            for member in self.members
            if self._failures[id(member)]
        ]

    def _drop_failing(self, method: str, *arguments: Any, results: list[Any] | None = None) -> list[BackendError]:
        errors: list[BackendError] = []
        for member in list(self.members):
            try:
                value = getattr(member.backend, method)(*arguments)
            except Exception as error:  # noqa: BLE001 - reported, and raised by the caller if none is left
                errors.append(_as_backend_error(member, error))
                self.members.remove(member)
            else:
                if results is not None:
                    results.append(value)
        return errors

    def _leave_out(self, errors: list[BackendError]) -> None:
        self._left_out += errors
        for error in errors:
            log.warning(f"the run goes on without it: {error}")

    def _note(self, member: Selected, method: str, error: Exception) -> None:
        key = id(member)
        self._failures[key] += 1
        self._in_a_row[key] += 1
        self._last_error[key] = redact_text(f"{type(error).__name__}: {error}")
        if self._failures[key] == 1:
            log.warning(f"{member} failed in {method}, and the run goes on: {self._last_error[key]}")
        elif self._in_a_row[key] == FAILURES_UNTIL_OFF:
            log.warning(f"{member} failed {FAILURES_UNTIL_OFF} times in a row and is left out from now on")


def _as_backend_error(member: Selected, error: Exception) -> BackendError:
    if isinstance(error, BackendError):
        return error
    problem = f"{member.kind} '{member.name}' cannot be used: {type(error).__name__}: {redact_text(str(error))}"
    wrapped = BackendError(problem, owner=member.owner, next_step=f"check the section {member.kind}.{member.name}")
    wrapped.__cause__ = error
    return wrapped
