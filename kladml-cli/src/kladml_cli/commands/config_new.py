"""`kladml config new`: a first configuration for a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.settings_options import workspace_option

if TYPE_CHECKING:
    from kladml.workspace import Workspace

EPILOG = """\
Examples:

\b
  kladml config new --data digits
  kladml config new cnn/small --data digits@1 --target label
  kladml config new --data digits --model model.py:Net --dry-run

Then train: kladml train digits
"""

_TASKS = ("classification", "regression")  # as kladml.datasets.targets.TASKS, which imports NumPy


@click.command(epilog=EPILOG)
@click.argument("new_name", metavar="[NAME]", required=False)
@click.option(
    "--data",
    "data",
    metavar="NAME[@n]",
    required=True,
    help="The data set, or a version of it.",
    shell_complete=completes("versions"),
)
@click.option("--target", metavar="COLUMN", help="Column or array to learn; the one that was noted by default.")
@click.option("--task", type=click.Choice(_TASKS), help="What to learn; found out by the targets by default.")
@click.option(
    "--model",
    metavar="REF",
    help="Your model, file.py:Class; a small one is written by default.",
    shell_complete=completes("files"),
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, and write nothing.")
@workspace_option
@global_options()
def new(
    *,
    new_name: str | None,
    data: str,
    target: str | None,
    task: str | None,
    model: str | None,
    force: bool,
    dry_run: bool,
    workspace: Path | None,
) -> None:
    """Write a first configuration for a data set.

    Every choice in it says why. It is written to data/configs/NAME.yaml; NAME is that of the data set by default.
    Without --model, a small model is written beside it, so that 'kladml train NAME' trains at once.
    """
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.datasets.learning import learning_task
    from kladml.workspace import Workspace, config_file
    from kladml_cli.progress import bar
    from kladml_cli.starting_config import model_file_name, starting_config, summary

    place = Workspace.find(workspace)
    reference = DatasetReference.parse(data)
    name = (new_name or reference.name).removesuffix(".yaml")
    file = config_file(place, name)
    model_file = file.with_name(model_file_name(name))
    if not dry_run and not force:
        _refuse_to_overwrite([file] if model is not None else [file, model_file], place)
    found = learning_task(DatasetStore(place.state), reference, target=target, kind=task, progress=bar)
    starting = starting_config(found, name, model=None if model is None else _from_root(model, place))
    texts = {file: starting.text} | ({} if starting.model is None else {model_file: starting.model})
    if dry_run:
        for path, text in texts.items():
            click.echo(f"# {path.relative_to(place.root).as_posix()}\n{text}")
        return
    _write(texts)
    click.echo(summary(found))
    for path in texts:
        click.echo(f"  wrote  {path.relative_to(place.root).as_posix()}")
    _say_next(name, (*found.obstacles, *_inherited(file, place)))


def _refuse_to_overwrite(files: list[Path], workspace: Workspace) -> None:
    from kladml.errors import ConfigFileError

    there = [file.relative_to(workspace.root).as_posix() for file in files if file.exists() or file.is_symlink()]
    if there:
        problem = f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already"
        raise ConfigFileError(problem, next_step="give another NAME, or --force to write over what is there")


def _write(texts: dict[Path, str]) -> None:
    from kladml.errors import ConfigFileError
    from kladml.files.whole import written_whole

    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            problem = f"{path} cannot be written: {error.strerror or error}"
            raise ConfigFileError(problem, next_step="check the folder, or choose another NAME") from error


def _from_root(model: str, workspace: Workspace) -> str:
    """Return a reference to a file in the current folder as one from the workspace's root, where it is found later."""
    place, colon, name = model.rpartition(":")
    path = Path(place).resolve()
    if colon and place.endswith(".py") and path.is_file() and path.is_relative_to(workspace.root):
        return f"{path.relative_to(workspace.root).as_posix()}:{name}"
    return model


def _inherited(file: Path, workspace: Workspace) -> list[str]:
    """Return which keys of model and data this configuration has from the layers below it, and from where."""
    from kladml.config import read_yaml
    from kladml.errors import KladMLError
    from kladml_cli.configuration import Configuration

    own = {entry.key for entry in read_yaml(file)}
    try:
        below = Configuration(workspace).resolved.entries.values()
    except KladMLError:  # 'kladml train' will say what is wrong with it
        return []
    found = [entry for entry in below if entry.key.startswith(("model.", "data.")) and entry.key not in own]
    return [f"{entry.origin} sets {entry.key}, which holds for this configuration too" for entry in found]


def _say_next(name: str, warnings: tuple[str, ...]) -> None:
    import shlex

    from kladml_cli.hints import hint, warn

    for warning in warnings:
        warn(warning)
    step = f"correct that, then kladml train {shlex.quote(name)}"
    if not warnings:
        step = f"kladml train {shlex.quote(name)}"
    hint(f"Next: {step}")
