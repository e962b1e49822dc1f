"""Means per sample, summed up where the values are and read when somebody asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kladml.training.ranks import Ranks


class RunningMeans:
    """Sample-weighted means of named values; adding tensors to them never waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._samples: dict[str, float] = {}

    def add(self, values: Mapping[str, float | torch.Tensor], size: float) -> None:
        """Add the means over one batch.

        Args:
            values: Scalars, each the mean over the batch: numbers, or tensors on the device.
            size: Samples in the batch; nothing is added of a batch of none.
        """
        if not size:
            return
        sums, samples = self._sums, self._samples
        for name, value in values.items():
            if type(value) is not float and isinstance(value, torch.Tensor):
                # Sums over an epoch need the range and precision that 16 bit values lack.
                value = value.to(torch.float32 if value.device.type == "mps" else torch.float64)  # noqa: PLW2901
            if name in sums:
                sums[name] += value * size
                samples[name] += size
            else:
                sums[name], samples[name] = value * size, size

    def read(self, ranks: Ranks) -> dict[str, float]:
        """Return the means over all processes as numbers; all of them call it, and it waits for the device."""
        names, sums, samples = list(self._sums), self._numbers(), list(self._samples.values())
        if ranks.world > 1:
            named = [json.loads(data) for data in ranks.gather(json.dumps(names).encode())]
            everywhere = list(dict.fromkeys(name for part in named for name in part))
            mine = dict(zip(names, zip(sums, samples, strict=True), strict=True))
            pairs = [mine.get(name, (0.0, 0.0)) for name in everywhere]
            added = ranks.add([number for pair in pairs for number in pair])
            names, sums, samples = everywhere, added[::2], added[1::2]
        return {name: total / count for name, total, count in zip(names, sums, samples, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of this process as JSON-able data."""
        return {"sums": dict(zip(self._sums, self._numbers(), strict=True)), "samples": dict(self._samples)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from sums that `state_dict` returned."""
        self._sums, self._samples = dict(state["sums"]), dict(state["samples"])

    def load_joined(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Go on from the sums of several processes together."""
        for state in states:
            for name, value in state["sums"].items():
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._samples[name] = self._samples.get(name, 0.0) + state["samples"][name]

    def _numbers(self) -> list[float]:
        """Return the sums as numbers, with one transfer from the device; metrics may be on the host all the same."""
        on_device = [value for value in self._sums.values() if _is_on_device(value)]
        read = iter(torch.stack(on_device).tolist() if on_device else ())
        return [next(read) if _is_on_device(value) else float(value) for value in self._sums.values()]


def _is_on_device(value: float | torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type != "cpu"
