"""Telling callbacks, so that what they do with random numbers never changes a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.training.rng import BatchRandomness
from kladml.training.seeding import derived_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kladml.training.callbacks import TrainerCallback


class Audience:
    """The callbacks of a fit.

    Trackers and publishers draw random numbers too, such as for the pause before they try a slow network again. So
    the generators are after each call as they were before it.

    Args:
        callbacks: Who is told, in this order.
    """

    def __init__(self, callbacks: Sequence[TrainerCallback]) -> None:
        self._callbacks = callbacks
        self._randomness = BatchRandomness()

    def tell(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method of every callback."""
        if self._callbacks:
            numbers = [argument for argument in arguments if isinstance(argument, int)]
            self._randomness.call(self._tell, method, arguments, options, seed=derived_seed(method, *numbers))

    def state_dicts(self) -> list[dict[str, Any]]:
        """Return what each callback has to remember."""
        return [callback.state_dict() for callback in self._callbacks]

    def load_state_dicts(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Give each callback what `state_dicts` returned of it, if it is not empty."""
        for callback, state in zip(self._callbacks, states, strict=False):
            if state:
                callback.load_state_dict(state)

    def _tell(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        for callback in self._callbacks:
            getattr(callback, method)(*arguments, **options)
