"""`kladml runs copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from kladml.history.copying import CopiedFiles, Place
    from kladml.history.pages import RunPage
    from kladml.history.record_copying import CopiedRecords
    from kladml_cli.run_place import OpenPlace, RunPlace

EPILOG = """\
Examples:

\b
  kladml runs copy @3 --to storage=s3
  kladml runs copy digits@best --to tracker=mlflow,storage=s3
  kladml runs copy @-1 --to tracker=mlflow --json

Files are read back and compared by SHA-256, and values of metrics by all that
they are. What is there already and the same is left, so that a copy that was
cut off is completed by repeating it. Metrics keep their steps, and their times
where the tracker takes them.
"""

_KINDS = ("storage", "tracker")


@click.command(name="copy", epilog=EPILOG)
@click.argument("run", metavar="RUN", shell_complete=completes("runs"))
@click.option(
    "--to",
    "targets",
    metavar="KIND=NAME[,...]",
    required=True,
    help="Where: storage=NAME, tracker=NAME.",
    shell_complete=completes("copy targets"),
)
@json_option
@run_place_options
@global_options()
def copy(*, place: RunPlace, run: str, targets: str, as_json: bool) -> None:
    """Copy a run to another storage, another tracker, or both.

    RUN is an address, such as @3, @-1 (the newest), @best, digits@3 or project/family/experiment@3.
    """
    from kladml.errors import TrackerError
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.terminal import print_json

    chosen = _parse(targets)
    with place.open() as opened:
        page = opened.page(opened.find(run))
        with if_interrupted("what was copied stays; repeat it to copy the rest"):
            files = _copy_files(opened, page, chosen["storage"]) if "storage" in chosen else None
        with if_interrupted(
            f"a part of it may be on tracker {chosen.get('tracker')}, marked FAILED; repeat it to copy it whole"
        ):
            records = _copy_records(opened, page, chosen["tracker"]) if "tracker" in chosen else None
    if as_json:
        print_json({"run": page.address, **_as_dict(chosen, files, records)})
    else:
        _print(page, chosen, files, records)
    if records is not None and records.waiting is not None:
        problem = f"the copy of {page.address} is not on tracker {chosen['tracker']} yet: {records.waiting}"
        raise TrackerError(problem, next_step="what is left waits here; kladml sync delivers it")


def _parse(targets: str) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for part in targets.split(","):
        kind, equals, name = (text.strip() for text in part.partition("="))
        if kind not in _KINDS or not equals or not name:
            message = f"--to {targets}: write storage=NAME, tracker=NAME, or both with a comma between"
            raise click.UsageError(message)
        if kind in chosen:
            message = f"--to {targets} names two of kind {kind}; copy the run once for each"
            raise click.UsageError(message)
        chosen[kind] = name
    return chosen


def _copy_files(opened: OpenPlace, page: RunPage, name: str) -> CopiedFiles:
    from kladml.errors import StorageError
    from kladml.history.copying import Place, bytes_to_copy, copy_files, files_of
    from kladml_cli.progress import bar

    had = opened.storage_of(page.run)
    source = None if had is None else Place(page.run.backends["storage"], *had)
    target: Place = opened.storage(name)
    if source is not None and (source.name, source.bucket) == (target.name, target.bucket):
        problem = f"the files of {page.address} are in {source} already"
        raise StorageError(problem, next_step="name another storage")
    names = files_of(page, source)
    if not names:
        problem = f"there are no files of {page.address} in {source or page.folder / 'artifacts'}"
        raise StorageError(problem, next_step=f"kladml runs show {page.address} tells what is known of it")
    with bar(f"{page.address} to {name}", bytes_to_copy(page, source)) as tell:
        return copy_files(page, source, target, tell, opened.workspace.state)


def _copy_records(opened: OpenPlace, page: RunPage, name: str) -> CopiedRecords:
    from kladml.errors import TrackerError
    from kladml.history.record_copying import copy_records
    from kladml_cli.progress import bar

    if page.run.status == "RUNNING":
        problem = f"run {page.address} is RUNNING"
        raise TrackerError(problem, next_step="copy it when it has ended")
    with opened.configuration.open_tracker(name) as tracker:
        tracker.check()
        with bar(f"{page.address} to {name}", None):
            return copy_records(page, name, tracker)


def _print(page: RunPage, chosen: dict[str, str], files: CopiedFiles | None, records: CopiedRecords | None) -> None:
    if files is not None:
        there = f", of which {len(files.already_there)} were there already" if files.already_there else ""
        echo(f"{page.address}: {len(files.sha256)} files are in storage {chosen['storage']}{there}")
        echo("  each was read back, and its SHA-256 is the same")
    if records is not None and records.waiting is None:
        there = ", and were before" if records.already_there else ""
        times = "with their times" if records.with_times else "without their times, which are not known or not taken"
        where = f"on tracker {chosen['tracker']} as {records.run_id}"
        echo(f"{page.address}: {records.points} values are {where}{there}")
        echo(f"  {times}{'; read back, and the same' if records.verified else ''}")


def _as_dict(chosen: dict[str, str], files: CopiedFiles | None, records: CopiedRecords | None) -> dict[str, Any]:
    from dataclasses import asdict

    found: dict[str, Any] = {}
    if files is not None:
        found["storage"] = {"name": chosen["storage"], **asdict(files)}
    if records is not None:
        found["tracker"] = {"name": chosen["tracker"], **asdict(records)}
    return found
