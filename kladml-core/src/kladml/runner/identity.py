"""What makes a training the one that it is: what a run that goes on must have in common with what it was."""

from __future__ import annotations

import json
import re
from functools import reduce
from typing import TYPE_CHECKING, Any

from kladml.config import TrainingConfig, schema_keys
from kladml.errors import DataError, TrainingError
from kladml.log import get_logger
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT, is_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.config import RunConfig
    from kladml.runner.record import RunRecord
    from kladml.runner.versions import VersionData

log = get_logger(__name__)

MAY_CHANGE: Mapping[str, str] = {
    "max_epochs": "how long a training goes on changes none of the steps before",
    "max_steps": "as max_epochs",
    "early_stopping.enabled": "when a training ends changes none of the steps before",
    "early_stopping.patience": "as early_stopping.enabled",
    "early_stopping.min_delta": "as early_stopping.enabled",
    "checkpoint.enabled": "saving a state does not change it",
    "checkpoint.every_epochs": "as checkpoint.enabled",
    "checkpoint.every_steps": "as checkpoint.enabled",
    "checkpoint.every_minutes": "as checkpoint.enabled",
    "checkpoint.keep_last": "as checkpoint.enabled",
    "checkpoint.mirror": "as checkpoint.enabled",
    "checkpoint.restore_best": "it chooses among weights after the last step",
    "validate_every_steps": "a validation draws no random numbers of the training",
    "inference_mode": "it concerns validations",
    "num_workers": "the randomness of a batch depends on its place in the epoch, not on who fetches it",
    "timeout": "waiting changes nothing",
    "log_every": "reading the sums does not change them",
    "device": "'auto' may find another one as well; then numbers differ by rounding",
    "distributed": "a checkpoint knows its number of processes, and the trainer compares that",
    "num_processes": "as distributed",
    "strategy": "as distributed",
    "fsdp_wrap": "it groups what is exchanged; then numbers may differ by rounding",
}
"""Keys of `training` that may be other ones when a run goes on, and why. All others change the numbers that follow.

Which metric is watched is not here, because the best value so far is one of that metric.
"""


def settings(config: RunConfig, loss: Any, *, with_data: bool, with_val: bool = False) -> dict[str, Any]:
    """Return everything in a configuration that the numbers of a training depend on, by key.

    Args:
        config: The configuration.
        loss: The loss in use, which may be an object.
        with_data: Whether to name the training data as well, where it has no fingerprint.
        with_val: Whether to name the validation data, likewise.
    """
    found: dict[str, Any] = {
        f"training.{key}": reduce(getattr, key.split("."), config.training)
        for key in schema_keys(TrainingConfig)
        if key not in MAY_CHANGE
    }
    found |= {"model.ref": config.model.ref, "model.args": config.model.args, "model.loss": _name_of(loss)}
    found["data.val_split"] = config.data.val_split
    named = {*(("train", "target", "args") if with_data else ()), *(("val", "args") if with_val else ())}
    found |= {f"data.{key}": getattr(config.data, key) for key in sorted(named)}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=repr))
    return plain


def identity(
    address: str,
    run_id: str,
    config: RunConfig,
    loss: Any,
    *,
    data_fingerprint: str | None,
    val_fingerprint: str,
    version: VersionData | None = None,
    val_version: VersionData | None = None,
) -> dict[str, Any]:
    """Return what every checkpoint of a run says of it, JSON-able."""
    with_val = val_fingerprint == NO_FINGERPRINT
    found = settings(config, loss, with_data=data_fingerprint is None, with_val=with_val)
    versioned = version or val_version
    if versioned is not None:  # the files are all that its fingerprint says
        found["data.target"] = versioned.target
    return {
        "address": address,
        "run_id": run_id,
        "data": None if version is None else version.reference,
        "val": None if val_version is None else val_version.reference,
        "data_fingerprint": data_fingerprint,
        "val_fingerprint": val_fingerprint,
        "settings": found,
    }


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Refuse to go on with what would not be the same training.

    Args:
        before: The identity that the checkpoint has; one without any, of a trainer used alone, is only warned about.
        now: The identity of the run that is to go on.
        name: What goes on, for errors.

    Raises:
        DataError: The training data is other data, or the validation data, by which the best is chosen so far.
        TrainingError: A setting differs that the numbers depend on.
    """
    if "settings" not in before:
        log.warning(f"{name} does not say what it was trained with, so that nothing could be compared")
        return
    old, new = before["data_fingerprint"], now["data_fingerprint"]
    if old != new:
        raise _other_data(name, before, now)
    changes = [
        f"{key} was {_shown(value)} and is now {_shown(now['settings'][key])}"
        for key, value in before["settings"].items()
        if key in now["settings"] and _comparable(value) != _comparable(now["settings"][key])
    ]
    if changes:
        problem = f"{name} cannot go on as the same training: {'; '.join(changes)}"
        raise TrainingError(problem, next_step="set it back, or start a new run")
    # A checkpoint of an older version says nothing of the validation data.
    if before.get("val_fingerprint", now["val_fingerprint"]) != now["val_fingerprint"]:
        was, is_now = (_validated_on(each) for each in (before, now))
        problem = f"{name} was validated on {was}, and is to go on with {is_now}"
        hint = "give the validation data that it had, by which its best weights so far were chosen"
        raise DataError(problem, next_step=f"{hint}, or start a new run")


def check_unfinished(
    record: RunRecord, before: TrainingConfig, now: TrainingConfig, *, stopped_early: bool = False
) -> None:
    """Refuse to go on with a run that finished and is not to be trained longer.

    Args:
        record: The run.
        before: How it was trained.
        now: How it is to go on.
        stopped_early: Whether early stopping ended it.

    Raises:
        TrainingError: There is nothing left to train.
    """
    if record.status != "FINISHED":
        return
    if stopped_early:
        patience = before.early_stopping.patience
        if now.early_stopping.enabled and now.early_stopping.patience <= patience:
            problem = f"run {record.address} is FINISHED, by early stopping with a patience of {patience}"
            hint = "raise training.early_stopping.patience, or set training.early_stopping.enabled to false"
            raise TrainingError(problem, next_step=f"{hint}, to train longer")
        return
    steps_before, steps_now = (config.max_steps or float("inf") for config in (before, now))
    if now.max_epochs <= before.max_epochs and steps_now <= steps_before:
        limit = "" if before.max_steps is None else f" and training.max_steps = {before.max_steps}"
        problem = f"run {record.address} is FINISHED, with training.max_epochs = {before.max_epochs}{limit}"
        key = "max_epochs" if before.max_steps is None else "max_steps"
        raise TrainingError(problem, next_step=f"raise it to train longer, as with --set training.{key}=N")


def _other_data(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> DataError:
    """Return the error for other data, which names the versions of data sets where there are some."""
    was, is_now = before.get("data"), now.get("data")
    old, new = (each["data_fingerprint"] or "unknown" for each in (before, now))
    prints = f"its fingerprint was {old} and is now {new}"
    if was is None or is_now is None:
        problem = f"{name} was trained on other data: {prints}"
        return DataError(problem, next_step="give the data that it was trained on, or start a new run")
    problem = f"{name} was trained on {was}, and is to go on with {is_now}: {prints}"
    hint = f"'kladml data diff {was} {is_now}' says what changed; set data.train to {was}"
    return DataError(problem, next_step=f"{hint}, or start a new run")


def _validated_on(of_run: Mapping[str, Any]) -> str:
    """Return on what an identity says that a run is validated, as people read it."""
    text, version = str(of_run["val_fingerprint"]), of_run.get("val")
    if version is not None:
        return f"{version} ({text})"
    if is_fingerprint(text):
        return f"data with the fingerprint {text}"
    known = {NO_DATA: "nothing", KEPT_BACK: "a part of its training data", NO_FINGERPRINT: "data without a fingerprint"}
    return known.get(text, text)


def _name_of(loss: Any) -> str | None:
    if loss is None or isinstance(loss, str):
        return loss
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    return f"{named.__module__}:{named.__qualname__}"


def _comparable(value: Any) -> str:
    """Return a value without the addresses that objects have in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", json.dumps(value, sort_keys=True))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
