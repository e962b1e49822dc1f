"""The processes of one run: this one, and those that a launcher started beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kladml.errors import DataError
from kladml.log import bind_to_log

if TYPE_CHECKING:
    from kladml.config import TrainingConfig
    from kladml.training.ranks import Ranks


class Team:
    """What the processes of one run have to say to one another besides the training.

    The main process has the backends: it registers the run, writes and tells. The others train with it. All of them
    make the same calls in the same order.

    Args:
        ranks: The processes; None for this one alone, for which torch is not needed.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self._ranks = ranks

    @classmethod
    def join(cls, config: TrainingConfig) -> Team:
        """Join the other processes of this run, if there are any.

        Raises:
            TrainingError: There are not as many processes as the configuration asks for.
            PeerLostError: The others did not come, or went.
        """
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if alone and not config.distributed and config.num_processes in (None, 1):
            return cls()
        from kladml.training.ranks import join

        return cls(join(config))

    @property
    def is_main(self) -> bool:
        """Whether this is the process that has the backends."""
        return self._ranks is None or self._ranks.is_main

    @property
    def size(self) -> int:
        """How many processes there are."""
        return 1 if self._ranks is None else self._ranks.world

    def tell(self, value: Any) -> Any:
        """Return the main process's value, which is JSON-able, in every process."""
        return value if self._ranks is None else self._ranks.broadcast(value)

    def check_same_data(self, *fingerprints: str | None) -> None:
        """See that all processes have the same data; none goes on before all have theirs.

        Args:
            fingerprints: Those of training data and validation data, where they can be had.

        Raises:
            DataError: They have not, as when a data function draws random numbers without a seed.
        """
        if self._ranks is None:
            return
        own = " ".join(each or "unknown" for each in fingerprints)
        found = [one.decode() for one in self._ranks.gather(own.encode())]
        other = next((rank for rank, one in enumerate(found) if one != found[0]), None)
        if other is not None:
            problem = f"process {other} has other data than process 0: {found[other]} and {found[0]}"
            raise DataError(problem, next_step="make it the same in all processes; each takes its share of the batches")

    def bind_to_log(self) -> None:
        """Let every message of a run say which of several processes it is from."""
        if self._ranks is not None and self._ranks.world > 1:
            bind_to_log(rank=self._ranks.rank)

    def leave(self) -> None:
        """Leave the other processes after an error, so that they end at once and not only when this process does."""
        if self._ranks is not None and self._ranks.world > 1:
            from kladml.training.ranks import leave

            leave()
