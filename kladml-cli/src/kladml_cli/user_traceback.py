"""The traceback of the user's own code, without the frames that lead to it."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

import click

import kladml
import kladml_cli


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error as text, from the user's first frame on and without KladML's own.

    Where there is no frame of the user, those of libraries stay; where there is nothing else, all do.
    """
    report = TracebackException.from_exception(error, compact=True)
    _trim(report)
    return "".join(report.format())


def _trim(report: TracebackException) -> None:
    kept = [frame for frame in report.stack if not _lies_in(frame, _our_folders())]
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    first = next((index for index, frame in enumerate(kept) if not _lies_in(frame, libraries)), 0)
    if kept:
        report.stack = StackSummary.from_list(kept[first:])
    for inner in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if inner is not None:
            _trim(inner)


def _our_folders() -> tuple[str, ...]:
    return tuple(str(Path(str(module.__file__)).parent) for module in (kladml, kladml_cli, click))


def _lies_in(frame: FrameSummary, folders: tuple[str, ...]) -> bool:
    return frame.filename.startswith((*folders, "<frozen "))
