"""`kladml ui`: everything in the terminal, or MLflow's own pages in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options

if TYPE_CHECKING:
    from kladml_cli.run_place import RunPlace

EPILOG = """\
Examples:

\b
  kladml ui
  kladml ui --workspace ../digits
  kladml ui --web --port 5001

In the terminal, ? shows the keys of a screen and q ends it. It needs the
extra 'tui': pip install 'kladml-cli[tui]'. --web needs MLflow as a whole.
"""


@click.command(epilog=EPILOG)
@click.option("--web", is_flag=True, help="Start MLflow's own pages for the runs of the workspace instead.")
@click.option("--host", metavar="NAME", default="127.0.0.1", show_default=True, help="Where --web listens.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Likewise.")
@run_place_options
@global_options()
def ui(*, place: RunPlace, web: bool, host: str, port: int) -> None:
    """See projects, runs, data sets and more in the terminal."""
    if web:
        from kladml_cli.mlflow_pages import serve

        serve(place, host, port)
        return
    start(place)


def start(place: RunPlace) -> None:
    """Run the application until it is left.

    Raises:
        PluginError: textual is not installed.
        WorkspaceError: There is no workspace, or standard output is no terminal.
    """
    import gc
    import sys

    from kladml.errors import PluginError, WorkspaceError
    from kladml.workspace import Workspace

    Workspace.find(place.workspace)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        problem = "kladml ui needs a terminal"
        raise WorkspaceError(problem, next_step="use 'kladml runs list --json', or 'kladml watch @-1', in a pipe")
    try:
        from kladml_cli.ui.app import KladmlApp
    except ImportError as error:
        if error.name is None or not error.name.startswith("textual"):
            raise
        problem = "kladml ui needs textual, which is not installed"
        raise PluginError(problem, owner="kladml-cli", next_step="pip install 'kladml-cli[tui]'") from error
    # Nothing of what is imported and built at the start is garbage; looking for some takes a tenth of the time.
    # The first screen looks again once it is painted.
    gc.disable()
    app = KladmlApp(place)
    with app.logging_to_messages():
        app.run()
