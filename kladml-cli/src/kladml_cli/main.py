"""The command `kladml`: its subcommands, its global options, and where it begins and ends.

Nothing here imports a subcommand; `kladml --help` reads this table alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kladml import __version__
from kladml_cli.exits import EXIT_STATUSES, exit_status
from kladml_cli.groups import LazyCommand, LazyGroup
from kladml_cli.options import Invocation, global_options

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "init": LazyCommand("kladml_cli.commands.init:init", "Make a folder a workspace."),
    "train": LazyCommand("kladml_cli.commands.train:train", "Train a model; record and store what comes of it."),
    "runs": LazyCommand("kladml_cli.commands.runs:runs", "List, show, copy and delete the runs of the workspace."),
    "compare": LazyCommand(
        "kladml_cli.commands.compare:compare", "Show what differs between runs, and their best values."
    ),
    "reproduce": LazyCommand(
        "kladml_cli.commands.reproduce:reproduce", "Train a run once more; say whether it is exact."
    ),
    "watch": LazyCommand("kladml_cli.commands.watch:watch", "Follow a run line by line until it ends."),
    "ui": LazyCommand("kladml_cli.commands.ui:ui", "See projects, runs, data sets and more in the terminal."),
    "project": LazyCommand("kladml_cli.commands.hierarchy:project", "Make, list, show, describe and delete projects."),
    "family": LazyCommand("kladml_cli.commands.hierarchy:family", "Make, list, show, describe and delete families."),
    "experiment": LazyCommand(
        "kladml_cli.commands.hierarchy:experiment", "Make, list, show, describe and delete experiments."
    ),
    "checkpoints": LazyCommand(
        "kladml_cli.commands.checkpoints:checkpoints", "List, verify and export the checkpoints of a run."
    ),
    "sync": LazyCommand("kladml_cli.commands.sync:sync", "Deliver what trackers keep for a server that was away."),
    "data": LazyCommand("kladml_cli.commands.data:data", "Keep data sets in versions; compare and move them."),
    "config": LazyCommand(
        "kladml_cli.commands.config:config", "List, show, check, compare and write run configurations."
    ),
    "plugins": LazyCommand("kladml_cli.commands.plugins:plugins", "See which plugins are installed; check them."),
    "completion": LazyCommand(
        "kladml_cli.commands.completion:completion", "Print what lets a shell complete commands, options and names."
    ),
    "version": LazyCommand("kladml_cli.commands.version:version", "Show the installed versions of KladML."),
}

EPILOG = f"""\
Start with:

\b
  kladml init --example digits
  kladml train train.yaml

Plugins may bring further commands: 'kladml plugins list commands'.

Exit status: {", ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())}.
"""


@click.group(cls=LazyGroup, table=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kladml")
@global_options(hidden=False)
@click.pass_context
def kladml(context: click.Context) -> None:
    """Train models. Storage, tracking and progress are plugins, chosen by name."""
    from kladml_cli.log_output import check_format, log_to_stderr

    check_format()
    context.with_resource(log_to_stderr(context.ensure_object(Invocation).log_level))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: What follows `kladml`; the process's own arguments by default.
    """
    if "_KLADML_COMPLETE" in os.environ:
        from kladml_cli.completion.answering import answer

        answer(kladml, Invocation())
        return 0
    return exit_status(kladml, arguments, Invocation())
