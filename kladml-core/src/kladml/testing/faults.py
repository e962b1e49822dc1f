"""Making a working backend fail on purpose, to test what a run does then."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failing(backend: object, method: str, error: Exception, *, after: int = 0) -> Iterator[None]:
    """Let a method of one object raise an error while the `with` block lasts.

    ```python
    with failing(tracker, "log_metric", TrackerError("the server is gone"), after=2):
        runner.run(...)
    ```

    Args:
        backend: The object whose method fails; other objects of its class go on working.
        method: Name of the method.
        error: What each failing call raises.
        after: How many calls still succeed first.

    Raises:
        AttributeError: The object has no such method.
    """
    working = getattr(backend, method)
    on_the_object = vars(backend).get(method)
    calls = 0

    def fail(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return working(*arguments, **named)
        raise error

    setattr(backend, method, fail)
    try:
        yield
    finally:
        if on_the_object is None:
            delattr(backend, method)
        else:
            setattr(backend, method, on_the_object)
