"""`kladml reproduce`: train a run once more, and say whether it came out the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.hints import warn
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from kladml.history.data_check import DataCheck
    from kladml.history.pages import RunPage
    from kladml.history.reproduction import Outcome, Recipe
    from kladml.runner import RunResult
    from kladml_cli.run_place import OpenPlace, RunPlace

EPILOG = """\
Examples:

\b
  kladml reproduce @7
  kladml reproduce digits@best --check
  kladml reproduce @7 --set tracker.use=none --json

The exit status is 0 if the final metrics and the weights are the same to the
last bit, and 9 if they are not; with --check, 9 if something is known by which
they may differ.
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN", shell_complete=completes("runs"))
@click.option("--check", is_flag=True, help="Say what may keep it from coming out the same, and do not train.")
@json_option
@run_place_options
@global_options()
def reproduce(*, place: RunPlace, run: str, check: bool, as_json: bool) -> None:
    """Train a run once more; say whether it is exact.

    It becomes a new run of its experiment. Configuration and seed are those of the run, the backends are those that
    are selected now.

    --check compares versions of data sets by their noted fingerprints; it loads data files and calls data functions.

    RUN is an address, such as @7, @-1 (the newest), @best, digits@3 or project/family/experiment@3.
    """
    from kladml.config import BACKEND_SECTIONS
    from kladml.history.data_check import check_data
    from kladml.history.reproduction import obstacles, recipe_of
    from kladml_cli.terminal import print_json

    other = [entry.key for entry in place.overrides if entry.key.partition(".")[0] not in BACKEND_SECTIONS]
    if other:
        message = f"{', '.join(other)} would make it another run; only backends can be set"
        raise click.UsageError(message)
    with place.open() as opened:
        page = opened.page(opened.find(run))
        recipe = recipe_of(page)
        before = obstacles(page, recipe, opened.workspace.root)
        _import_from_here()
        if check:
            _check(page, before, check_data(page, recipe, opened.workspace), as_json=as_json)
            return
        for line in before:
            warn(line, "may differ")
        result, found = _train(opened, place, page, recipe)
        before += found
        outcome = _outcome(opened, page, result)
    if as_json:
        print_json(_as_dict(page, result, before, outcome))
    elif outcome.is_exact:
        what = "final metrics and weights" if outcome.weights is not None else "final metrics (there are no weights)"
        echo(f"exact: {what} of {result.address} are those of {page.address}, to the last bit")
    if not outcome.is_exact:
        if not as_json:
            _print_differences(outcome)
        _fail(_reasons(outcome, before), f"{result.address} is not what {page.address} was")


def _import_from_here() -> None:
    """Let code be imported from the current folder, as by `kladml train`."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)


def _check(page: RunPage, before: list[str], data: list[DataCheck], *, as_json: bool) -> None:
    """Say what is known without training.

    Raises:
        DifferenceError: Something may keep the run from coming out the same.
    """
    from kladml_cli.terminal import print_json

    found = [*before, *(one.text for one in data if one.is_obstacle)]
    if as_json:
        of_data = {one.key: {"same": one.is_same, "text": one.text} for one in data}
        print_json({"run": page.address, "data": of_data, "obstacles": found})
    else:
        for one in data:
            if not one.is_obstacle:
                echo(one.text)
        if not found:
            echo(f"nothing is known that keeps {page.address} from coming out the same")
    _fail(found, f"{page.address} may not come out the same")


def _train(opened: OpenPlace, place: RunPlace, page: RunPage, recipe: Recipe) -> tuple[RunResult, list[str]]:
    """Train, and return the result together with what was found out when the run began."""
    from kladml.history.reproduction import REPRODUCES, obstacles_at_start
    from kladml.plugins import hookimpl
    from kladml.runner import ExperimentRunner
    from kladml.runner.selection import DEFAULT
    from kladml_cli.exits import RunFailed
    from kladml_cli.passing_note import PREPARING, passing_note
    from kladml_cli.progress import bar
    from kladml_cli.run_watch import RunWatch, signals_end_the_run

    found: list[str] = []

    class StartWatch:
        """Says at the run's beginning what is known by then."""

        @hookimpl
        def kladml_run_started(self, run: Any) -> None:
            found.extend(obstacles_at_start(page, run.tags))
            for line in found:
                warn(line, "may differ")

    with passing_note(PREPARING) as end_note:
        watch = RunWatch(when_it_starts=end_note)
        runner = ExperimentRunner(
            config=place.config_source or DEFAULT,
            workspace=opened.workspace,
            hooks=[watch, StartWatch()],
            profile=place.profile,
            overrides=[*recipe.entries, *place.overrides],
            code=recipe.code,
            tags={REPRODUCES: page.address},
            progress=bar,
        )
        try:
            with signals_end_the_run():
                result = runner.run()
        except BaseException as error:
            raise RunFailed(error, watch.outcome) from error
    return result, found


def _outcome(opened: OpenPlace, page: RunPage, result: RunResult) -> Outcome:
    from kladml.errors import BackendError, ConfigError, PluginError
    from kladml.history.reproduction import outcome_of
    from kladml.history.weights import different_weights
    from kladml.log import get_logger
    from kladml_cli.progress import bar

    weights = None
    try:
        before = opened.storage_of(page.run)
        now = opened.storage_of(opened.catalog.get_run(result.address))
        if before is not None and now is not None:
            one, other = (*before, page.run.address), (*now, result.address)
            with bar("comparing weights", None):
                weights = different_weights(one, other, opened.workspace.state)
    except (BackendError, ConfigError, PluginError) as error:
        get_logger(__name__).warning(f"the weights cannot be compared: {error}")
    return outcome_of(page.run.metrics, result.metrics, weights)


def _print_differences(outcome: Outcome) -> None:
    for name, (before, now) in outcome.metrics.items():
        echo(f"{name}  was {before!r}, is {now!r}")
    for name in outcome.weights or ():
        echo(f"{name}  has other weights")


def _reasons(outcome: Outcome, before: list[str]) -> list[str]:
    parts = [f"{len(outcome.metrics)} metrics"] if outcome.metrics else []
    parts += ["the weights"] if outcome.weights else []
    differing = f"{' and '.join(parts)} differ"
    return [differing, *(before or ["nothing was found that explains it; the code itself may not be deterministic"])]


def _fail(reasons: list[str], problem: str) -> None:
    from kladml.errors import DifferenceError

    if reasons:
        text = f"{problem}: {'; '.join(reasons)}"
        raise DifferenceError(text)


def _as_dict(page: RunPage, result: RunResult, before: list[str], outcome: Outcome) -> dict[str, Any]:
    weights = None if outcome.weights is None else outcome.weights == []
    return {
        "run": page.address,
        "reproduction": str(result.address),
        "exact": outcome.is_exact,
        "obstacles": before,
        "metrics": {name: {"was": was, "is": now} for name, (was, now) in outcome.metrics.items()},
        "weights_are_equal": weights,
        "different_files": outcome.weights,
    }
