"""`kladml init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.options import global_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.resources.abc import Traversable

EPILOG = """\
Examples:

\b
  kladml init
  kladml init --example digits digits
  cd digits && kladml train train.yaml

The example needs scikit-learn, whose handwritten digits it learns to read.
"""

FOLDERS = ("data/datasets", "data/configs", "data/runs")
EXAMPLES = ("digits",)


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(EXAMPLES), help="Write an example project into the workspace too.")
@global_options()
def init(*, folder: Path, example: str | None) -> None:
    """Make a folder a workspace.

    The folder is DIR, or the current one. Nothing that is there is changed: a second time does no harm.
    """
    from kladml.errors import WorkspaceError
    from kladml.log import get_logger
    from kladml.workspace import Workspace
    from kladml_cli.workspace_state import DATABASE, make_state
    from kladml_cli.workspace_template import IGNORE_ALL, configuration_template

    around = Workspace.around(folder)
    workspace = Workspace.create(folder)
    if around is not None and around.root != workspace.root:
        problem = f"{workspace.root} is nested in the workspace {around.root}, which does not see its runs and data"
        get_logger(__name__).warning(problem)
    files = [(".kladml/.gitignore", IGNORE_ALL), ("kladml.yaml", configuration_template())]
    files += [(name, text) for name, text in (_example_files(example) if example else ())]
    try:
        for name in FOLDERS:
            (workspace.root / name).mkdir(parents=True, exist_ok=True)
        kept = [name for name, text in files if not _write_new(workspace.root / name, text)]
        made = [DATABASE] if make_state(workspace) else []
    except OSError as error:
        problem = f"{error.filename or workspace.root} cannot be written: {error.strerror or error}"
        raise WorkspaceError(problem, next_step="choose a folder that you may write to") from error
    _tell(workspace.root, [*(name for name, _ in files), *made], kept, example)


def _tell(root: Path, names: Iterable[str], kept: list[str], example: str | None) -> None:
    from kladml_cli.hints import hint
    from kladml_cli.terminal import echo

    echo(f"{root} is a KladML workspace")
    for name in names:
        echo(f"  kept   {name}, which was there" if name in kept else f"  wrote  {name}")
    here = "" if root == Path.cwd() else f"cd {_shell_word(root)} && "
    step = "train train.yaml" if example else "data add NAME PATH, or kladml init --example digits"
    hint(f"Next: {here}kladml {step}")


def _shell_word(path: Path) -> str:
    import os
    import shlex

    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)


def _example_files(name: str) -> Iterator[tuple[str, str]]:
    """Yield the files of an example, by name."""
    from importlib.resources import files

    folder: Traversable = files("kladml_cli") / "examples" / name
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_file():
            yield file.name, file.read_text(encoding="utf-8")


def _write_new(path: Path, text: str) -> bool:
    """Write a file as a whole unless something is there; tell whether it was written."""
    import os
    import secrets

    if path.exists() or path.is_symlink():
        return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True
