"""`kladml checkpoints`: what trainings saved, whether it is whole, and its weights as a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option, workspace_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP_EPILOG = """\
Examples:

\b
  kladml checkpoints list @-1
  kladml checkpoints verify @-1
  kladml checkpoints export @-1 weights.safetensors --best
"""

LIST_EPILOG = """\
Examples:

\b
  kladml checkpoints list @-1
  kladml checkpoints list digits@3 --json
  kladml checkpoints list path/to/checkpoints
"""

VERIFY_EPILOG = """\
Examples:

\b
  kladml checkpoints verify digits@3
  kladml checkpoints verify path/to/checkpoints/step-00000420

The exit status is 7 if a checkpoint is damaged.
"""

EXPORT_EPILOG = """\
Examples:

\b
  kladml checkpoints export digits@3 digits.safetensors --best
  kladml checkpoints export path/to/step-00000420 digits.safetensors

\b
  # in Python
  from safetensors.torch import load_file
  module.load_state_dict(load_file("digits.safetensors"))
"""

_DAMAGED = {"fg": "red"}
_BLOCK = 1 << 20


def _target_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("target", metavar="RUN|FOLDER", shell_complete=completes("checkpoints"))(command)


@click.group(cls=CommandGroup, epilog=GROUP_EPILOG)
def checkpoints() -> None:
    """List, verify and export the checkpoints of a run.

    RUN is an address, such as @3, @-1 (the newest), @best, digits@3 or project/family/experiment@3; FOLDER is a
    folder of checkpoints or a single one.
    """


@checkpoints.command(name="list", epilog=LIST_EPILOG)
@_target_argument
@workspace_option
@json_option
@global_options()
def list_checkpoints(*, target: str, workspace: Path | None, as_json: bool) -> None:
    """List the checkpoints of a run, the newest first.

    Each is read to see whether it is whole.
    """
    from kladml.training.checkpointing.manifest import best_in
    from kladml_cli.checkpoint_folders import find_checkpoints
    from kladml_cli.hints import hint
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json, print_table

    folder, found = find_checkpoints(target, workspace)
    best = best_in(found[0].parent) if found else None
    with bar("checking", sum(map(_bytes, found))) as progress:
        described = [_described(path, progress, is_best=path == best) for path in reversed(found)]
    if as_json:
        print_json(described)
    elif described:
        header = ("CHECKPOINT", "STEP", "EPOCH", "SAVED", "SIZE", "PROCESSES", "STATE")
        print_table(header, [_row(entry) for entry in described], [{} if e["valid"] else _DAMAGED for e in described])
    else:
        hint(f"no checkpoints in {folder}; training.checkpoint decides when some are saved")


@checkpoints.command(epilog=VERIFY_EPILOG)
@_target_argument
@workspace_option
@json_option
@global_options()
def verify(*, target: str, workspace: Path | None, as_json: bool) -> None:
    """Compare every file of the checkpoints with the size and the SHA-256 that were noted when it was written."""
    from kladml.errors import CheckpointError
    from kladml_cli.checkpoint_folders import find_checkpoints
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json, print_table

    folder, found = find_checkpoints(target, workspace)
    if not found:
        problem = f"there are no checkpoints in {folder}"
        raise CheckpointError(problem, next_step="name the folder of a run's checkpoints")
    with bar("checking", sum(map(_bytes, found))) as progress:
        files = {path: _checked(path, progress) for path in found}
    rows = [file for checked in files.values() for file in checked]
    if as_json:
        print_json(rows)
    else:
        cells = [(row["checkpoint"], row["file"], _shown_size(row["size"]), row["problem"] or "whole") for row in rows]
        styles = [_DAMAGED if row["problem"] else {} for row in rows]
        print_table(("CHECKPOINT", "FILE", "SIZE", "STATE"), cells, styles)
    damaged = [path for path, checked in files.items() if any(file["problem"] for file in checked)]
    if damaged:
        whole = [path.name for path in found if path not in damaged]
        names = ", ".join(path.name for path in damaged)
        problem = f"{len(damaged)} of {len(found)} checkpoints {'is' if len(damaged) == 1 else 'are'} damaged: {names}"
        raise CheckpointError(problem, next_step=f"use {whole[-1]}" if whole else "none of them can be used")


@checkpoints.command(epilog=EXPORT_EPILOG)
@_target_argument
@click.argument("out", metavar="OUT.safetensors", type=click.Path(path_type=Path))
@click.option("--best", is_flag=True, help="Export the best checkpoint.")
@click.option("--latest", is_flag=True, help="Export the newest checkpoint that is whole; the default.")
@click.option("--step", metavar="N", type=click.IntRange(min=0), help="Export the checkpoint of step N.")
@click.option("--force", is_flag=True, help="Replace OUT.safetensors if it exists.")
@workspace_option
@global_options()
def export(
    *, target: str, out: Path, best: bool, latest: bool, step: int | None, force: bool, workspace: Path | None
) -> None:
    """Write the weights of a checkpoint as one safetensors file, for torch and transformers."""
    from kladml.errors import CheckpointError
    from kladml_cli.checkpoint_folders import find_checkpoints
    from kladml_cli.interruption import if_interrupted

    if best + latest + (step is not None) > 1:
        message = "--best, --latest and --step exclude one another"
        raise click.UsageError(message)
    folder, found = find_checkpoints(target, workspace)
    chosen = found[0] if found == [folder] else _chosen(folder, found, best=best, step=step)
    if out.exists() and not force:
        problem = f"{out} exists"
        raise CheckpointError(problem, next_step="add --force to replace it, or choose another name")
    try:
        with if_interrupted(f"{out} was not written"):
            size = _copy_weights(chosen, out)
    except OSError as error:
        problem = f"{out} cannot be written: {error.strerror or error}"
        raise CheckpointError(problem, next_step="name a file in a folder that exists and has room") from error
    click.echo(f"{out}: {_shown_size(size)}, the weights of {chosen}")


def _chosen(folder: Path, found: Sequence[Path], *, best: bool, step: int | None) -> Path:
    from kladml.errors import CheckpointError
    from kladml.training.checkpointing.format import step_of
    from kladml.training.checkpointing.manifest import best_in, latest_in

    if step is not None:
        chosen = next((path for path in reversed(found) if (step_of(path.name) or (-1,))[0] == step), None)
        what = f"no checkpoint of step {step}"
    elif best:
        chosen, what = best_in(folder), "no checkpoint that is marked as the best one"
    else:
        chosen, what = latest_in(folder), "no checkpoint that is whole"
    if chosen is None:
        problem = f"there is {what} in {folder}"
        raise CheckpointError(problem, next_step="'kladml checkpoints list' shows what there is")
    return chosen


def _copy_weights(checkpoint: Path, out: Path) -> int:
    """Verify a checkpoint, copy its weights to a file that is there whole or not at all, and return its bytes."""
    import secrets

    from kladml.training.checkpointing.format import MODEL
    from kladml.training.checkpointing.manifest import verify as verify_checkpoint
    from kladml_cli.progress import bar

    with bar("checking", _bytes(checkpoint)) as progress:
        verify_checkpoint(checkpoint, progress)
    temporary = out.with_name(f".tmp-{secrets.token_hex(4)}-{out.name}")
    try:
        # The file is what torch and transformers read already.
        source = checkpoint / MODEL
        with (
            bar(f"writing {out.name}", source.stat().st_size) as progress,
            source.open("rb") as reader,
            temporary.open("xb") as writer,
        ):
            while block := reader.read(_BLOCK):
                writer.write(block)
                progress(len(block))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out.stat().st_size


def _described(path: Path, progress: Callable[[int], object], *, is_best: bool) -> dict[str, Any]:
    """Return what the list says of a checkpoint; what a damaged one does not tell is None."""
    import json

    from kladml.errors import CheckpointError
    from kladml.training.checkpointing.format import STATE, step_of
    from kladml.training.checkpointing.manifest import Manifest
    from kladml.training.checkpointing.manifest import verify as verify_checkpoint

    manifest, state, problem = None, {}, None
    try:
        manifest = Manifest.read(path)
        verify_checkpoint(path, progress)
        state = json.loads((path / STATE).read_bytes())
    except (CheckpointError, OSError, ValueError) as error:
        problem = error.problem if isinstance(error, CheckpointError) else str(error)
    step = step_of(path.name)
    return {
        "checkpoint": path.name,
        "path": str(path),
        "step": state.get("step", step[0] if step else None),
        "epoch": state.get("epoch"),
        "saved_at": manifest.saved_at if manifest else None,
        "size": sum(entry.size for entry in manifest.files.values()) if manifest else None,
        "processes": state.get("world_size"),
        "best": is_best,
        "valid": problem is None,
        "problem": problem,
    }


def _checked(path: Path, progress: Callable[[int], object]) -> list[dict[str, Any]]:
    """Return what is said of each file of a checkpoint."""
    from kladml.errors import CheckpointError
    from kladml.training.checkpointing.format import MANIFEST
    from kladml.training.checkpointing.manifest import checked_files

    found: list[tuple[str, int | None, str]]
    try:
        found = [(file, entry.size, complaint) for file, entry, complaint in checked_files(path, progress)]
        found.append((MANIFEST, (path / MANIFEST).stat().st_size, ""))
    except (CheckpointError, OSError) as error:
        found = [(MANIFEST, None, error.problem if isinstance(error, CheckpointError) else str(error))]
    return [
        {"checkpoint": path.name, "file": file, "size": size, "valid": not complaint, "problem": complaint or None}
        for file, size, complaint in found
    ]


def _bytes(checkpoint: Path) -> int:
    return sum(file.stat().st_size for file in checkpoint.iterdir() if file.is_file())


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    from datetime import datetime

    saved = entry["saved_at"] and f"{datetime.fromisoformat(entry['saved_at']).astimezone():%Y-%m-%d %H:%M}"
    state = ("best" if entry["best"] else "whole") if entry["valid"] else "damaged"
    known = (entry["step"], entry["epoch"], saved, _shown_size(entry["size"]), entry["processes"])
    return (entry["checkpoint"], *("-" if value is None else str(value) for value in known), state)


def _shown_size(count: int | None) -> str:
    from kladml_cli.terminal import size

    return "-" if count is None else size(count)
