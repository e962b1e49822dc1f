"""What `kladml train --json` prints of a run that failed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kladml_cli.endings import RunFailed, ending_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failure_as_json(*, wanted: bool) -> Iterator[None]:
    """Print an error that ends the block as JSON on standard output, if that is wanted; it is raised all the same.

    Of several processes that train together, the main one prints.

    Args:
        wanted: Whether it is.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except BaseException as error:
        if wanted:
            _print(error)
        raise


def _print(error: BaseException) -> None:
    from kladml.training.launching.rank_folder import own_rank
    from kladml_cli.terminal import print_json

    if own_rank() != 0:
        return
    failed = error if isinstance(error, RunFailed) else None
    cause = error if failed is None else failed.error
    run = None if failed is None else failed.run
    print_json(
        {
            "address": None if run is None else run.address,
            "run_id": None if run is None else run.run_id,
            "status": None if failed is None else failed.status,
            "error": " ".join(str(cause).split()) or type(cause).__name__,
            "error_type": type(cause).__name__,
            "exit_status": ending_of(error, with_traceback=False).status,
        }
    )
