"""Listening to what a run publishes while it goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kladml.history.series import Point
    from kladml.interfaces import CatalogRun, Listener
    from kladml_cli.run_place import OpenPlace

_NUMBERS = {
    "step": ("step", "loss", "lr"),
    "validated": ("step",),
    "epoch_ended": ("epoch",),
    "checkpoint_saved": ("step", "is_best"),
    "run_ended": ("seconds",),
}
_WITH_METRICS = ("validated", "epoch_ended", "run_ended")


def listener_of(
    opened: OpenPlace, run: CatalogRun, complain: Callable[[str], object]
) -> tuple[str, Listener] | tuple[None, None]:
    """Return the name of a publisher that tells of a run, and what receives its messages, or nothing.

    The publishers of the run come first, then those that are selected now.

    Args:
        opened: Where the run is.
        run: The run.
        complain: Called with a sentence for each publisher that should tell of it and cannot be listened to.
    """
    from kladml.errors import ConfigError, PluginError, PublisherError

    if run.status != "RUNNING":
        return None, None
    selected = opened.configuration.resolved.selected("publisher") or []
    names = [name for name in run.backends.get("publisher", "").split(",") if name]
    for name in dict.fromkeys([*names, *selected]):
        try:
            publisher = opened.configuration.select("publisher", name)
            if "listen" in publisher.capabilities:
                return name, publisher.listen(f"kladml:{run.address}")
        except (ConfigError, PluginError, PublisherError) as error:
            complain(f"publisher {name} cannot be listened to: {error}")
    return None, None


def points_of(event: Mapping[str, Any]) -> list[Point]:
    """Return the values that a message tells of, as a tracker records them."""
    kind = str(event.get("event"))
    try:
        milliseconds = round(1000 * float(event["time"]))
        if kind == "step":
            values, step = {"loss_step": event["loss"], "lr_step": event["lr"]}, event["step"]
        elif kind == "validated":
            values, step = {f"{name}_step": value for name, value in event["metrics"].items()}, event["step"]
        elif kind == "epoch_ended":
            values, step = event["metrics"], event["epoch"]
        else:
            return []
        # A publisher may write what is no number, such as NaN, as text.
        return [(str(name), float(value), milliseconds, int(step)) for name, value in values.items()]
    except (KeyError, TypeError, ValueError, AttributeError):  # of a version that is not known, or not of a run
        return []


def is_whole(event: Mapping[str, Any]) -> bool:
    """Tell whether a message has what a run says of its event: anybody may publish on a channel."""
    kind = str(event.get("event"))
    try:
        datetime.fromtimestamp(float(event["time"]), UTC)
        for name in _NUMBERS.get(kind, ()):
            float(event[name])
        for value in event["metrics"].values() if kind in _WITH_METRICS else ():
            float(value)
        return kind != "run_ended" or (isinstance(event["status"], str) and isfinite(float(event["seconds"])))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
        return False
