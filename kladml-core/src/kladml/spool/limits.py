"""What a tracking store takes, and what it refuses for good: the limits that MLflow sets.

Trackers check against them before anything is recorded, so that a name that no store would take is an error in the
line that uses it. They hold for every store behind a spool, as a run may be copied from one to another.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from kladml.errors import RefusedRunError, TrackerError
from kladml.log import get_logger
from kladml.spool.events import Batch, DatasetInput, ExperimentTags, Params, Tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kladml.spool.events import Event, SpooledRun

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[/\w.\- ]*" if os.name == "nt" else r"[/\w.\- :]*")
_LONGEST_NAME = 250
_LONGEST_EXPERIMENT_NAME = 500
LONGEST_PARAM = 6_000
LONGEST_TAG = 8_000
_LONGEST_EXPERIMENT_TAG = 20_000
_LONGEST_OF_DATASET = {
    "name": 500,
    "digest": 36,
    "source_type": 36,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
    "context": 500,
}
_SHOWN = 60

log = get_logger(__name__)


def check_run(run: SpooledRun, owner: str) -> None:
    """Refuse a run that no store could hold.

    Args:
        run: The run.
        owner: Who refuses, for the error.

    Raises:
        RefusedRunError: Its identifier or the name of its experiment is malformed.
    """
    if not _RUN_ID.fullmatch(run.run_id):
        problem = f"{run.run_id!r} is no identifier of a run"
        raise RefusedRunError(problem, owner=owner, next_step="use 32 lower-case hexadecimal digits")
    if not run.goes_on and not 0 < len(run.experiment_name) <= _LONGEST_EXPERIMENT_NAME:
        problem = f"{shown(run.experiment_name)} is no name of an experiment"
        raise RefusedRunError(problem, owner=owner, next_step=f"use 1 to {_LONGEST_EXPERIMENT_NAME} characters")


def acceptable(run: SpooledRun, batch: Batch) -> tuple[Batch, list[str]]:
    """Return what a store takes of a batch, and a sentence for each record that it refuses whatever happens.

    Long parameters and tags are cut, as MLflow itself cuts them.
    """
    refused: list[str] = []
    malformed = {}
    for key in dict.fromkeys(map(itemgetter(0), batch.points)):
        if problem := malformed_name(key):
            malformed[key] = problem
            refused.append(f"the metric {shown(key)} of run '{run.run_id}' is not kept: {problem}")
    points = [point for point in batch.points if point[0] not in malformed] if malformed else batch.points
    events = [_acceptable_event(run, event, refused) for event in batch.events]
    return Batch(points, [event for event in events if event is not None]), refused


def check_names(kind: str, names: Iterable[str], owner: str) -> None:
    """Refuse names that no store takes.

    Args:
        kind: What they are names of, such as `metric`.
        names: The names.
        owner: Who refuses, for the error.

    Raises:
        TrackerError: One is malformed.
    """
    for name in names:
        if problem := malformed_name(name):
            text = f"the {kind} {shown(name)} cannot be recorded: {problem}"
            raise TrackerError(text, owner=owner, next_step="choose another name")


def as_texts(kind: str, values: Mapping[str, Any], longest: int, owner: str) -> dict[str, str]:
    """Return values as text, as long as it is kept; it is said where that is not all of it.

    Args:
        kind: What they are, such as `parameter`.
        values: The values by name.
        longest: How many characters of each are kept.
        owner: Who refuses a malformed name, for the error.

    Raises:
        TrackerError: A name is malformed.
    """
    check_names(kind, values, owner)
    texts = {key: str(value) for key, value in values.items()}
    for key, text in texts.items():
        if len(text) > longest:
            log.warning(f"'{key}' has {len(text)} characters, of which the first {longest} are kept")
    return {key: text[:longest] for key, text in texts.items()}


def changed_param(run: SpooledRun, key: str, kept: str, other: str) -> str:
    """Return the sentence for a parameter that has another value already."""
    return f"the parameter '{key}' of run '{run.run_id}' stays {shown(kept)}, and {shown(other)} is not kept"


@lru_cache(maxsize=4096)
def malformed_name(name: str) -> str | None:
    """Say what is wrong with the name of a metric, a parameter or a tag; None if nothing."""
    if len(name) > _LONGEST_NAME:
        return f"the name has more than {_LONGEST_NAME} characters"
    if not _NAME.fullmatch(name):
        return "a name is made of letters, digits, underscores, dashes, dots, spaces, colons and slashes"
    # MLflow's file store once made files of names, and its rule has outlived it.
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        return f"as a path the name would mean '{normal}'"
    return None


def storable(text: str) -> str:
    """Return a text without what UTF-8 cannot say, such as half of a character in the name of a file."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _acceptable_event(run: SpooledRun, event: Event, refused: list[str]) -> Event | None:
    if isinstance(event, Params):
        return Params(_named(run, "parameter", event.values, LONGEST_PARAM, refused))
    if isinstance(event, Tags):
        return Tags(_named(run, "tag", event.values, LONGEST_TAG, refused))
    if isinstance(event, ExperimentTags):
        return ExperimentTags(_named(run, "experiment's tag", event.values, _LONGEST_EXPERIMENT_TAG, refused))
    if isinstance(event, DatasetInput):
        for name, longest in _LONGEST_OF_DATASET.items():
            if len(getattr(event, name) or "") > longest:
                what = f"the data set {shown(event.name)} of run '{run.run_id}'"
                refused.append(f"{what} is not kept: its {name} has more than {longest} characters")
                return None
        texts = {name: storable(getattr(event, name)) for name in _LONGEST_OF_DATASET if getattr(event, name)}
        return replace(event, **texts)
    return event


def _named(run: SpooledRun, kind: str, values: dict[str, str], longest: int, refused: list[str]) -> dict[str, str]:
    kept = {}
    for key, value in values.items():
        if problem := malformed_name(key):
            refused.append(f"the {kind} {shown(key)} of run '{run.run_id}' is not kept: {problem}")
        else:
            kept[key] = storable(value[:longest])
    return kept


def shown(text: str) -> str:
    """Return a text as a message has it: quoted, and not at length."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
