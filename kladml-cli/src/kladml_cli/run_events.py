"""What happens in a run, as a publisher would tell it, from what a tracker has recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kladml.history.series import Point

_OF_STEPS = "_step"
_STEP = frozenset({"loss_step", "lr_step"})
_EPOCH = frozenset({"loss", "lr"})


def events_of(points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return the events that recorded values come from, the oldest first.

    They look like the messages of `kladml.interfaces.PublisherInterface`, with one more event: `metrics`, of what a
    model logs itself.

    Args:
        points: Values as a tracker gives them back; those that were recorded together have the same time.
    """
    together: dict[tuple[int, int, bool], dict[str, float]] = {}
    for key, value, milliseconds, step in points:
        together.setdefault((milliseconds, step, key.endswith(_OF_STEPS)), {})[key] = value
    in_order = sorted(together.items(), key=lambda item: item[0][0])
    return [_event(values, milliseconds / 1000, step) for (milliseconds, step, _), values in in_order]


def _event(values: dict[str, float], time: float, step: int) -> dict[str, Any]:
    names = values.keys()
    if names >= _STEP:
        return {"event": "step", "time": time, "step": step, "loss": values["loss_step"], "lr": values["lr_step"]}
    if all(name.endswith(_OF_STEPS) for name in names):
        metrics = {name.removesuffix(_OF_STEPS): value for name, value in values.items()}
        return {"event": "validated", "time": time, "step": step, "metrics": metrics}
    if names >= _EPOCH:
        return {"event": "epoch_ended", "time": time, "epoch": step, "metrics": values}
    return {"event": "metrics", "time": time, "step": step, "metrics": values}


class ToldEvents:
    """Tells an event once where two sources have it: the tracker what was before, and a publisher what comes."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def is_new(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an event comes after all others of its kind, and remember it."""
        kind = event["event"]
        counter = "epoch" if kind == "epoch_ended" else "step"
        place = event.get(counter)
        if kind not in ("step", "validated", "epoch_ended") or not isinstance(place, int):
            return True
        if place <= self._last.get(kind, -1):
            return False
        self._last[kind] = place
        return True
