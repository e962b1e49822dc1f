"""The state of the random number generators, and random numbers that belong to one batch alone."""

from __future__ import annotations

import ctypes
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMPY_STATE_BYTES = (624 + 1) * 4  # the words of the Mersenne Twister and the position in them


def rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of the generators of Python, NumPy, torch and the device, as tensors by name."""
    _, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - the generator that users' augmentations draw from
    state = {
        "rng.python": torch.tensor(words, dtype=torch.int64),
        "rng.python.gauss": _optional(gauss),
        "rng.numpy": torch.tensor([*map(int, legacy[1]), int(legacy[2])], dtype=torch.int64),
        "rng.numpy.gauss": _optional(legacy[4] if legacy[3] else None),
        "rng.torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state[f"rng.{device.type}"] = _of_device(device).get_rng_state(device)
    return state


def restore_rng(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put the generators into a state that `rng_state` returned; the device's only if it is of the same type."""
    random.setstate((3, tuple(state["rng.python"].tolist()), _from_optional(state["rng.python.gauss"])))
    *words, position = state["rng.numpy"].tolist()
    gauss = _from_optional(state["rng.numpy.gauss"])
    legacy = ("MT19937", np.array(words, dtype=np.uint32), position, int(gauss is not None), gauss or 0.0)
    np.random.set_state(legacy)  # noqa: NPY002
    torch.set_rng_state(state["rng.torch"])
    kept = state.get(f"rng.{device.type}")
    if kept is not None:
        _of_device(device).set_rng_state(kept, device)


def seed_for_batch(seed: int) -> None:
    """Seed the CPU's generators, as `seed_everything` does in a fraction of its time."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)


class BatchRandomness:
    """Calls functions with random numbers that depend on given numbers alone; others see none of it.

    What a data set draws while a batch is fetched must not depend on what was drawn before, or skipping batches
    and changing the number of workers would change the data; and it must not shift what the model draws.
    """

    def __init__(self) -> None:
        self._numpy = np.random.MT19937()  # swapped in: getting and setting NumPy's state takes 100 µs
        self._kept = ctypes.create_string_buffer(_NUMPY_STATE_BYTES)

    def call(self, function: Callable[..., Any], *arguments: Any, seed: int) -> Any:
        """Return `function(*arguments)`, called with the generators seeded; they are then as they were before."""
        python, own = random.getstate(), torch.default_generator.get_state()
        numpy, normal = get_bit_generator(), self._kept_normal()
        set_bit_generator(self._numpy)
        try:
            seed_for_batch(seed)
            return function(*arguments)
        finally:
            set_bit_generator(numpy)
            if normal is not None:  # seldom
                state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
                np.random.set_state(state | {"has_gauss": 1, "gauss": normal})  # noqa: NPY002
            torch.default_generator.set_state(own)
            random.setstate(python)

    def _kept_normal(self) -> float | None:
        """Return the second of the pair of normal numbers that NumPy's generator makes, if it has kept one.

        Swapping forgets it. It shows in that drawing a normal number leaves the generator's bits alone.
        """
        generator = get_bit_generator()
        if not isinstance(generator, np.random.MT19937):
            return None
        address = generator.ctypes.state_address
        ctypes.memmove(self._kept, address, _NUMPY_STATE_BYTES)
        normal = float(np.random.standard_normal())  # noqa: NPY002
        if ctypes.string_at(address, _NUMPY_STATE_BYTES) == self._kept.raw:
            return normal
        ctypes.memmove(address, self._kept, _NUMPY_STATE_BYTES)
        return None


def _optional(value: float | None) -> torch.Tensor:
    return torch.tensor([] if value is None else [value], dtype=torch.float64)


def _from_optional(value: torch.Tensor) -> float | None:
    return float(value) if value.numel() else None


def _of_device(device: torch.device) -> Any:
    """Return torch's module of a device type; MPS has one generator, and its functions take no device."""
    if device.type == "mps":
        return _MpsGenerator
    return getattr(torch, device.type)


class _MpsGenerator:
    @staticmethod
    def get_rng_state(_: torch.device) -> torch.Tensor:
        return torch.mps.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, _: torch.device) -> None:
        torch.mps.set_rng_state(state)
