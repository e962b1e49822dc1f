"""`kladml train`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.config_choice import config_argument
from kladml_cli.distributed_options import MachineOptions, distributed_options
from kladml_cli.exits import EXIT_STATUSES, RunFailed, arguments_of
from kladml_cli.given_entries import entries_of
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    backend_options,
    configuration_options,
    json_option,
    setting_option,
    workspace_option,
)
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from kladml.errors import KladMLError
    from kladml.interfaces import ConfigEntry
    from kladml.runner import ExperimentRunner, RunResult
    from kladml.training.launching.rank_folder import RankFolder
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration
    from kladml_cli.run_watch import RunWatch

LATEST = "latest"
_SLASHES = 2

EPILOG = f"""\
Examples:

\b
  kladml train train.yaml
  kladml train digits
  kladml train train.yaml --set training.max_epochs=5 --tracker local
  kladml train --model model.py:Net --data digits.npz --storage none
  kladml train train.yaml --storage s3 --set storage.s3.bucket=my-bucket
  kladml train train.yaml --distributed --num-processes 2
  kladml train train.yaml --resume
  kladml train --resume @-1

A NAME is that of an installed plugin ('kladml plugins list'), DISTRIBUTION:NAME where two have the same name,
or 'none' to do without.

Exit status: {", ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())}.
"""


@click.command(epilog=EPILOG)
@config_argument(required=False)
@setting_option(
    "--model",
    key="model.ref",
    metavar="REF",
    help="The model: file.py:Class or package.module:Class.",
    completing="files",
)
@setting_option(
    "--data",
    key="data.train",
    metavar="REF",
    help="Training data: digits@2, a file, or file.py:function.",
    completing="data",
)
@setting_option(
    "--val-data", key="data.val", metavar="REF", help="Validation data, given as --data is.", completing="data"
)
@click.option(
    "--experiment",
    metavar="ADDRESS",
    help="Experiment, or project/family/experiment, of the run.",
    shell_complete=completes("entries experiment"),
)
@setting_option("--run-name", key="run_name", metavar="TEXT", help="A name for people.")
@click.option(
    "--resume",
    metavar="[ADDRESS|PATH]",
    is_flag=False,
    flag_value=LATEST,
    help="Go on with a run, or from a checkpoint; with the experiment's latest run by default.",
    shell_complete=completes("resumable"),
)
@click.option(
    "--allow-world-change", is_flag=True, help="Resume also with another number of processes or another strategy."
)
@distributed_options
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def train(
    context: click.Context,
    *,
    config: str | None,
    experiment: str | None,
    resume: str | None,
    allow_world_change: bool,
    num_machines: int,
    machine_rank: int,
    main_process_ip: str | None,
    main_process_port: int,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Train a model; record and store what comes of it.

    CONFIG is a YAML file for this run, or the name of one in data/configs. Over it come KLADML_* variables and the
    options here; below it comes kladml.yaml of the workspace.
    """
    from kladml.training.launching.rank_folder import own_rank
    from kladml.training.launching.supervised import accept_supervision
    from kladml.workspace import Workspace, find_config
    from kladml_cli.launching import is_started_by_launcher, needs_several, train_in_several
    from kladml_cli.passing_note import PREPARING, passing_note
    from kladml_cli.run_watch import RunWatch
    from kladml_cli.train_failure import failure_as_json

    supervisor = accept_supervision()
    machines = MachineOptions(num_machines, machine_rank, main_process_ip, main_process_port)
    with failure_as_json(wanted=as_json):
        found = Workspace.find(workspace)
        if config is None and resume is not None and _is_config(resume, found):
            config, resume = resume, LATEST
        config_file = None if config is None else find_config(found, config)
        sources = _Sources(found, config_file, config_source, profile, entries_of(context))
        with passing_note(PREPARING) as end_note:
            if not is_started_by_launcher():
                configuration = sources.configuration(experiment)
                if needs_several(configuration.resolved.run.training, machines):
                    context.exit(train_in_several(arguments_of(context), configuration, machines, end_note))
            watch = RunWatch(supervisor.run if supervisor is not None and own_rank() == 0 else None, end_note)
            _run(sources, supervisor, watch, experiment, resume, allow_world_change=allow_world_change, as_json=as_json)


@dataclass(frozen=True)
class _Sources:
    """What the configuration of a run is read from."""

    workspace: Workspace
    file: Path | None
    source: str | None
    profile: str | None
    overrides: list[ConfigEntry]

    def configuration(self, experiment: str | None) -> Configuration:
        """Resolve it as the runner will, to learn whether to train in several processes."""
        from kladml.interfaces import ExperimentAddress
        from kladml_cli.configuration import Configuration

        try:
            if experiment is not None:
                ExperimentAddress.parse(experiment)
            return Configuration(
                self.workspace, file=self.file, source=self.source, profile=self.profile, overrides=self.overrides
            )
        except Exception as error:
            raise RunFailed(error, "") from error

    def full_address(self, resume: str, experiment: str | None) -> tuple[str, KladMLError | None]:
        """Return what to resume with a short address of a run, such as `@-1`, written out; all else as it is.

        Beside it there is what the catalog says where it does not know the run, which only the storage may know then.

        Raises:
            AddressError: `@best` or `@-1` means no run.
        """
        _, at, label = resume.rpartition("@")
        if not at or Path(resume).expanduser().exists():
            return resume, None
        from kladml.errors import AddressError, CatalogError
        from kladml_cli.run_place import OpenPlace, RunPlace

        loaded = self.configuration(experiment)
        try:
            with ExitStack() as opened:
                catalog = opened.enter_context(loaded.open_catalog(checked=False))
                place = OpenPlace(RunPlace(experiment), self.workspace, loaded, catalog, opened)
                return str(place.find(resume).address), None
        except (AddressError, CatalogError) as error:
            if label == "best" or label.startswith("-"):
                raise
            return resume, error if isinstance(error, AddressError) else None

    def runner(self, watch: RunWatch) -> ExperimentRunner:
        """Return a runner with it."""
        from kladml.runner import ExperimentRunner
        from kladml.runner.selection import DEFAULT
        from kladml_cli.progress import bar

        return ExperimentRunner(
            config=self.source or DEFAULT,
            workspace=self.workspace,
            hooks=[watch],
            config_file=self.file,
            profile=self.profile,
            overrides=self.overrides,
            progress=bar,
        )


def _is_config(text: str, workspace: Workspace) -> bool:
    """Tell whether what follows `--resume` is CONFIG, and nothing says what to resume."""
    from kladml.workspace import config_names

    if text.endswith((".yaml", ".yml")) and Path(text).is_file():
        return True
    return text != LATEST and not Path(text).exists() and text in config_names(workspace)


def _run(
    sources: _Sources,
    supervisor: RankFolder | None,
    watch: RunWatch,
    experiment: str | None,
    resume: str | None,
    *,
    allow_world_change: bool,
    as_json: bool,
) -> None:
    """Train in this process, which may be one of several, and print the result if it is the main one."""
    from kladml.training.launching.rank_folder import own_rank
    from kladml_cli.run_watch import signals_end_the_run

    # The user's own modules are found in the current folder, as Python itself would find them.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    is_main = own_rank() == 0
    runner = sources.runner(watch)
    missing: KladMLError | None = None
    try:
        if resume is not None and is_main:
            resume, missing = sources.full_address(resume, experiment)
        with signals_end_the_run(supervisor):
            result = runner.run(experiment_name=experiment, resume=resume, allow_world_change=allow_world_change)
    except BaseException as error:
        outcome = watch.outcome if supervisor is None and is_main else None
        found = _with_nearest(error, missing, resume)
        raise RunFailed(found, outcome, run=watch.run, status=watch.status) from error
    if is_main:
        _show(result, watch, as_json=as_json)


def _with_nearest(error: BaseException, missing: KladMLError | None, resume: str | None) -> BaseException:
    """Return an error that says that there is no such run to resume with the nearest ones, which the catalog knows."""
    from kladml.errors import AddressError

    if missing is None or resume is None or not isinstance(error, AddressError):
        return error
    if resume.startswith("@") or resume.count("/") == _SLASHES:
        return AddressError(error.problem, next_step=missing.next_step)
    return missing  # only the catalog tells what a short address means


def _show(result: RunResult, watch: RunWatch, *, as_json: bool) -> None:
    """Print the result as JSON, or in short where no console publisher did it, what went wrong, and what is next."""
    import shlex

    from kladml.interfaces import RunAddress
    from kladml_cli.hints import hint, warn
    from kladml_cli.run_rows import short
    from kladml_cli.terminal import print_json

    outcome = {name: value for name, value in dict(result).items() if name != "model"}
    if as_json:
        print_json(outcome)
    elif not watch.publishes_to("console"):
        from kladml_backends_console.summary import Summary

        summary = Summary.of(str(result.address), {**outcome, "seconds": watch.seconds})
        for line in (summary.headline, *summary.rows()):
            echo(line)
    if not as_json and watch.uses("catalog"):
        hint(f"Next: kladml runs show {shlex.quote(short(RunAddress.parse(str(result.address))))}")
    for warning in result.warnings:
        warn(warning, run=str(result.address))
