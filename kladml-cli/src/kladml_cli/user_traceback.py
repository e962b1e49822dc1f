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

    Where there is no frame of the user, those of libraries stay; where there is nothing else, all do. Of an
    interrupt, only the user's frames say something: which line of theirs was running, if any was.
    """
    report = TracebackException.from_exception(error, compact=True)
    if isinstance(error, KeyboardInterrupt):
        report.stack = StackSummary.from_list([frame for frame in report.stack if _is_the_users(frame)])
        return "".join(report.format(chain=False)) if report.stack else ""
    _trim(report)
    return "".join(report.format())


def user_stack(stack: StackSummary) -> str:
    """Return a stack as text, from the user's first frame on and without KladML's own, where it has others."""
    return "".join(_trimmed(stack).format())


def _trim(report: TracebackException) -> None:
    report.stack = _trimmed(report.stack)
    for inner in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if inner is not None:
            _trim(inner)


def _trimmed(stack: StackSummary) -> StackSummary:
    kept = [frame for frame in stack if not _lies_in(frame, _our_folders())]
    first = next((index for index, frame in enumerate(kept) if _is_the_users(frame)), 0)
    return StackSummary.from_list(kept[first:]) if kept else stack


def _is_the_users(frame: FrameSummary) -> bool:
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return not _lies_in(frame, (*_our_folders(), *libraries))


def _our_folders() -> tuple[str, ...]:
    return tuple(str(Path(str(module.__file__)).parent) for module in (kladml, kladml_cli, click))


def _lies_in(frame: FrameSummary, folders: tuple[str, ...]) -> bool:
    return frame.filename.startswith((*folders, "<frozen "))
