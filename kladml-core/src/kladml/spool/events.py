"""What a run's spool holds, as a sink receives it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

MetricPoint = tuple[str, float, int, int]
"""Key, value, time in milliseconds since the epoch of Unix, step."""


@dataclass(frozen=True, slots=True)
class SpooledRun:
    """The run that a spool belongs to; known when the run begins, but for `remote_id`.

    Attributes:
        run_id: 32 hexadecimal digits, by which the tracker knows the run.
        experiment_name: Name of the experiment.
        run_name: Name of the run for people.
        user: Who began it.
        source: What was run, such as `train.py`.
        started_ms: When it began, in milliseconds since the epoch of Unix.
        destination: Where it belongs, such as the address of a server.
        goes_on: Whether the run was there before, so that it is not to be made.
        remote_id: What the destination calls the run, once it has told; None until then.
    """

    run_id: str
    experiment_name: str
    run_name: str
    user: str
    source: str
    started_ms: int
    destination: str = ""
    goes_on: bool = False
    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters, as text."""

    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tags:
    """Labels of the run; a later value replaces an earlier one."""

    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class ExperimentTags:
    """Labels of the run's experiment; a later value replaces an earlier one."""

    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A data set that the run used.

    Attributes:
        name: Its name.
        digest: Its fingerprint, at most 36 characters.
        source_type: Kind of its source, such as `local`.
        source: Where it came from, JSON.
        schema: Its columns, JSON, or None.
        profile: Its size, JSON, or None.
        context: What it was used for, such as `training`.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that is kept with the run.

    Attributes:
        name: Its relative name in the run, with `/`.
        file: Its name in the spool's folder of files; for a sink, its whole path.
    """

    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Status:
    """The run goes on (`RUNNING`), or ended.

    Attributes:
        status: One of `kladml.interfaces.RUN_STATUSES`.
        time_ms: When, in milliseconds since the epoch of Unix.
    """

    status: str
    time_ms: int


Event = Params | Tags | ExperimentTags | DatasetInput | Artifact | Status
"""Whatever happens to a run that is no metric."""

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Params, Tags, ExperimentTags, DatasetInput, Artifact, Status)
}


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON-able data."""
    return {"event": type(event).__name__, **asdict(event)}


def event_from_json(data: dict[str, Any]) -> Event | None:
    """Return the event that `event_to_json` wrote; None for one that this version does not know, or knows otherwise."""
    kind = _KINDS.get(data.get("event", ""))
    if kind is None:
        return None
    known = {item.name for item in fields(kind)}
    try:
        event: Event = kind(**{name: value for name, value in data.items() if name in known})
    except TypeError:  # a part of it is missing
        return None
    return event


@dataclass(slots=True)
class Batch:
    """Consecutive records of one run, in the order of recording: metrics, and whatever else happened.

    Attributes:
        points: Metrics.
        events: The rest; if the run ended, its last one is a `Status`.
    """

    points: list[MetricPoint] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.points) + len(self.events)


class Sink(Protocol):
    """Where a spool drains to: a database, or a server.

    A sink is used by one thread at a time, not always the same one.

    Attributes:
        batch_size: How many records it takes at once, about.
    """

    batch_size: int

    def begin(self, run: SpooledRun) -> SpooledRun:
        """Make the run known unless it is; doing so again changes nothing.

        Returns:
            The run, with the identifier that the destination gave it if that is another one. It is kept on the disk,
            and is what `begin` and `write` get from then on, in later processes as well.

        Raises:
            TrackerError: It cannot be, now; the caller tries again later.
        """

    def write(self, run: SpooledRun, batch: Batch) -> list[str]:
        """Keep a batch, whole, before returning; the same batch may come again and changes nothing then.

        Returns:
            A sentence for each record that is refused for good, such as a parameter that has another value.

        Raises:
            TrackerError: Nothing, or not all of it, could be kept; the caller tries again later.
        """

    def close(self) -> None:
        """Let go of connections; a later use opens them again."""
