"""`kladml train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.exits import EXIT_STATUSES, RunFailed
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    backend_options,
    configuration_options,
    entries_of,
    json_option,
    setting_option,
    workspace_option,
)

if TYPE_CHECKING:
    from kladml.runner import RunResult
    from kladml_cli.run_watch import RunWatch

EPILOG = f"""\
Examples:

\b
  kladml train train.yaml
  kladml train train.yaml --set training.max_epochs=5 --tracker local
  kladml train --model model.py:Net --data digits.npz --storage none
  kladml train train.yaml --storage s3 --set storage.s3.bucket=my-bucket

A NAME is that of an installed plugin ('kladml plugins list'), DISTRIBUTION:NAME where two have the same name,
or 'none' to do without.

Exit status: {", ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())}.
"""


@click.command(epilog=EPILOG)
@click.argument("config_file", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@setting_option("--model", key="model.ref", metavar="REF", help="The model: file.py:Class or package.module:Class.")
@setting_option("--data", key="data.train", metavar="REF", help="Training data: a file, or file.py:function.")
@setting_option("--val-data", key="data.val", metavar="REF", help="Validation data, given as --data is.")
@click.option("--experiment", metavar="ADDRESS", help="Experiment, or project/family/experiment, of the run.")
@setting_option("--run-name", key="run_name", metavar="TEXT", help="A name for people.")
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def train(
    context: click.Context,
    *,
    config_file: Path | None,
    experiment: str | None,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Train a model; record and store what comes of it.

    CONFIG is a YAML file for this run. Over it come KLADML_* variables and the options here; below it comes
    kladml.yaml of the workspace.
    """
    from kladml.runner import ExperimentRunner
    from kladml.runner.selection import DEFAULT
    from kladml.workspace import Workspace
    from kladml_cli.run_watch import RunWatch, sigterm_ends_the_run

    place = Workspace.find(workspace)
    # The user's own modules are found in the current folder, as Python itself would find them.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    watch = RunWatch()
    runner = ExperimentRunner(
        config=config_source or DEFAULT,
        workspace=place,
        hooks=[watch],
        config_file=config_file,
        profile=profile,
        overrides=entries_of(context),
    )
    try:
        with sigterm_ends_the_run():
            result = runner.run(experiment_name=experiment)
    except BaseException as error:
        raise RunFailed(error, watch.outcome) from error
    _show(result, watch, as_json=as_json)


def _show(result: RunResult, watch: RunWatch, *, as_json: bool) -> None:
    """Print the result as JSON, or in short where no console publisher did it, and what went wrong on the way."""
    from kladml_cli.terminal import print_json, styled

    outcome = {name: value for name, value in dict(result).items() if name != "model"}
    if as_json:
        print_json(outcome)
    elif not watch.publishes_to("console"):
        from kladml_backends_console.summary import Summary

        summary = Summary.of(str(result.address), {**outcome, "seconds": watch.seconds})
        click.echo("\n".join((summary.headline, *summary.rows())))
    for warning in result.warnings:
        click.echo(f"{styled('warning:', sys.stderr, fg='yellow')} {warning}", err=True)
