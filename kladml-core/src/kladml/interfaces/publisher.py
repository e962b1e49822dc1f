"""The publisher interface: live messages while a run goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from kladml.interfaces.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class PublisherInterface(Backend):
    """Tells whoever listens how a run is doing.

    A complete publisher, and the hook that offers it under a name:

    ```python
    import json
    from kladml import PublisherInterface

    class FilePublisher(PublisherInterface):
        def __init__(self, path="messages.jsonl"):
            self.path = path

        def publish(self, channel, message):
            with open(self.path, "a") as file:
                print(json.dumps({"channel": channel, **message}), file=file)
    ```
    ```python
    from kladml.plugins import hookimpl

    @hookimpl
    def kladml_register_publisher():
        from my_package.publisher import FilePublisher
        return FilePublisher
    ```

    A run publishes on the channel `kladml:<address>`, such as `kladml:default/default/digits@3`. Messages are
    JSON-able and have a field `event`:

    | event | further fields |
    |---|---|
    | `run_started` | `address`, `run_id`, `max_epochs`, `steps_per_epoch`, `selected` (list of text) |
    | `step` | `epoch`, `step` (optimizer steps so far), `loss` (running mean of the epoch), `lr` |
    | `epoch_ended` | `epoch` (from 1), `step`, `metrics` (name to number) |
    | `validated` | `epoch`, `step`, `metrics` (name to number), after a validation inside an epoch |
    | `checkpoint_saved` | `step`, `path`, `is_best` |
    | `run_ended` | `status`, `metrics`, `artifacts` (name to URI), `how_to_view` (list of text), `seconds` |

    Every message also has `time`, seconds since the epoch of Unix.

    Capabilities: `listen` (`listen`).
    """

    @abstractmethod
    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send one message; this occurs in the training loop, so it must return within a second, always.

        Args:
            channel: Which run the message is about.
            message: A JSON-able mapping with a field `event`.

        Raises:
            PublisherError: The message could not be sent; the run goes on.
        """

    def flush(self) -> None:
        """Send what is still held back; this occurs once, before `close`."""

    def listen(self, channel: str) -> Listener:
        """Begin to receive what is published on a channel from now on, also by other processes. Capability `listen`.

        Raises:
            PublisherError: Nobody can listen now.
        """
        raise self._lacks("listen", f"listen to '{channel}'")


class Listener(ABC):
    """Receives the messages of one channel; used in a `with` block, which stops it."""

    @abstractmethod
    def next(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message, or None if there is none within so many seconds.

        Raises:
            PublisherError: Messages can no longer be received.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop; closing twice is harmless."""

    def __enter__(self) -> Self:
        """Return the listener itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
