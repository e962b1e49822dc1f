"""Reading without holding up the screen."""

from __future__ import annotations

import asyncio
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml_cli.run_place import OpenPlace, RunPlace

Result = TypeVar("Result")


async def in_background(work: Callable[[], Result]) -> Result:
    """Return what a function returns, or raise what it raises, having called it in a thread of its own.

    The thread ends with the process: whoever quits does not wait for a storage that does not answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    Thread(target=run, name="kladml-ui-reading", daemon=True).start()
    return await future


class Reader:
    """Reads from the workspace, each time with a catalog of its own, so that no thread waits for another one.

    Args:
        place: Where the runs are.
    """

    def __init__(self, place: RunPlace) -> None:
        self.place = place

    async def read(self, work: Callable[[OpenPlace], Result]) -> Result:
        """Return what a function reads from the open catalog."""

        def opened() -> Result:
            with self.place.open() as place:
                return work(place)

        return await in_background(opened)
