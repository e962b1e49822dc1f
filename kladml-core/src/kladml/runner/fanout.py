"""Calling several backends of a kind, so that one that fails stops neither the others nor the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.config.secrets import redact_text
from kladml.errors import BackendError, CapabilityError, TrackerError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kladml.interfaces import UndeliveredRun
    from kladml.runner.selection import Selected

log = get_logger(__name__)

FAILURES_UNTIL_OFF = 3
"""Failures in a row after which a backend is no longer called: each one may have waited for a time-out."""


class FanOut:
    """Passes calls on to every backend of a kind and reports failures, each backend's first at once.

    Args:
        members: The backends.

    Attributes:
        members: The backends that take part.
        resumed: The trackers among them that go on with a run of theirs.
    """

    def __init__(self, members: Sequence[Selected]) -> None:
        self.members = list(members)
        self.resumed: list[Selected] = []
        self._run_ids: dict[int, str] = {}
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
        errors = self._drop_failing(lambda member: member.backend.check())
        if errors and not self.members and not optional:
            raise errors[0]
        self._leave_out(errors)

    def start_run(
        self, experiment_name: str, run_name: str | None, earlier: Sequence[tuple[str, str]] = ()
    ) -> str | None:
        """Start a run on every tracker, or go on with it, and return the first tracker's identifier of it, if any.

        A tracker that cannot go on with its run starts a new one, and that is said.

        Args:
            experiment_name: Name of the experiment.
            run_name: Name of the run, or None.
            earlier: For a run that is resumed, name of each tracker and its identifier of the run.

        Raises:
            BackendError: Every tracker failed.
        """
        had_members = bool(self.members)
        left = list(earlier)

        def begin(member: Selected) -> None:
            found = next((pair for pair in left if pair[0] == member.name), None)
            if found is not None:
                left.remove(found)
            if found is not None and self._resume_run(member, found[1]):
                self.resumed.append(member)
                self._run_ids[id(member)] = found[1]
            else:
                self._run_ids[id(member)] = member.backend.start_run(experiment_name, run_name)

        errors = self._drop_failing(begin)
        if had_members and not self.members:
            raise errors[0]
        self._leave_out(errors)
        return self._run_ids[id(self.members[0])] if self.members else None

    def run_ids(self) -> list[tuple[str, str]]:
        """Return the name of each tracker and its identifier of the run, in the order of selection."""
        return [(member.name, self._run_ids[id(member)]) for member in self.members if id(member) in self._run_ids]

    def call(self, method: str, *arguments: Any, always: bool = False, among: Sequence[Selected] | None = None) -> None:
        """Call a method of every backend; failures are reported and counted, and the run goes on.

        Args:
            method: Name of the method.
            arguments: Its arguments.
            always: Whether to call also those that failed too often, as the end of a run must.
            among: The backends to call; all by default.
        """
        for member in self.members if among is None else among:
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

    def how_to_view(self) -> list[str]:
        """Return how to look at the run on each tracker, a line each."""
        hints: list[str] = []
        for member in self.members:
            try:
                hint = member.backend.how_to_view(self._run_ids[id(member)])
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
        """Return one sentence for each backend that was left out, failed, or has not delivered everything."""
        return [
            *(f"the run went on without it: {error}" for error in self._left_out),
            *(
                f"{member}: {self._failures[id(member)]} calls failed, last: {self._last_error[id(member)]}"
                for member in self.members
                if self._failures[id(member)]
            ),
            *(f"{member}: {run}" for member in self.members for run in self._undelivered(member)),
        ]

    def _undelivered(self, member: Selected) -> list[UndeliveredRun]:
        """Return the run, if the tracker keeps some of it on this machine."""
        if "sync" not in getattr(member.backend, "capabilities", ()):
            return []
        try:
            return [run for run in member.backend.undelivered() if run.run_id == self._run_ids.get(id(member))]
        except Exception as error:  # noqa: BLE001 - only a hint
            self._note(member, "undelivered", error)
            return []

    def _resume_run(self, member: Selected, run_id: str) -> bool:
        """Let a tracker go on with a run; tell whether it does."""
        try:
            member.backend.resume_run(run_id)
        except (CapabilityError, TrackerError) as error:
            log.warning(f"{member} starts a new run, because it cannot go on with '{run_id}': {error.problem}")
            return False
        return True

    def _drop_failing(self, work: Callable[[Selected], object]) -> list[BackendError]:
        errors: list[BackendError] = []
        for member in list(self.members):
            try:
                work(member)
            except Exception as error:  # noqa: BLE001 - reported, and raised by the caller if none is left
                errors.append(_as_backend_error(member, error))
                self.members.remove(member)
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
