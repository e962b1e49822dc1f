"""`kladml watch`: one run, line by line."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kladml_cli.run_place import RunPlace

EPILOG = """\
Examples:

\b
  kladml watch @-1
  kladml watch digits@3 --past 0
  kladml watch @-1 --json | jq .metrics.val_loss
  kladml watch @-1 && kladml runs show @-1

It reads what the run's tracker records, and listens to the run's publisher
where that can be listened to, such as redis. Ctrl-C stops watching; the run
goes on. The exit status is 7 if the run fails.
"""

_STYLES: dict[str, dict[str, Any]] = {
    "FINISHED": {"fg": "green"},
    "FAILED": {"fg": "red"},
    "KILLED": {"fg": "yellow"},
    "LOST": {"fg": "red"},
}


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN", shell_complete=completes("runs"))
@click.option(
    "--past",
    metavar="N",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Begin with the last N lines.",
)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="How often to look at what the tracker recorded.",
)
@json_option
@run_place_options
@global_options()
def watch(*, place: RunPlace, run: str, past: int, interval: float, as_json: bool) -> None:
    """Follow a run line by line until it ends.

    RUN is an address, such as @3, @-1 (the newest), @best, digits@3 or project/family/experiment@3.
    """
    from kladml.errors import TrainingError
    from kladml.history.standing import LOST
    from kladml.log import get_logger
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.run_following import RunFollower
    from kladml_cli.run_listening import listener_of

    log = get_logger(__name__)
    with place.open() as opened:
        found = opened.find(run)
        _, listener = listener_of(opened, found, log.warning)
        try:
            follower = RunFollower(opened, found, interval, listener)
            if follower.hears_nothing:
                log.warning(f"nothing here tells of the metrics of {found.address}, only of its end")
            with if_interrupted(f"the run {found.address} goes on"):
                ended = _follow(follower.past(), follower.coming(), past, as_json=as_json)
        finally:
            if listener is not None:
                listener.close()
    if ended.get("status") != "FINISHED":
        reason = f": {ended['error']}" if ended.get("error") else ""
        problem = f"run {found.address} is {ended.get('status')}{reason}"
        step = f"see 'kladml runs show {found.address}'"
        if ended.get("status") == LOST:
            step = f"'kladml train --resume {found.address}' goes on with it"
        raise TrainingError(problem, next_step=step)


def _follow(
    before: list[dict[str, Any]], coming: Iterable[dict[str, Any]], past: int, *, as_json: bool
) -> Mapping[str, Any]:
    event: Mapping[str, Any] = {}
    for event in chain(before[:1], before[1:][-past:] if past else (), coming):
        _print(event, as_json=as_json)
    return event


def _print(event: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an event at once: whoever reads a pipe waits for it."""
    if as_json:
        import json

        from kladml_cli.terminal import jsonable

        click.echo(json.dumps(jsonable(event), ensure_ascii=False))
    else:
        line = line_of(event)
        if line:
            click.echo(line)
    sys.stdout.flush()


def line_of(event: Mapping[str, Any]) -> str:
    """Return an event as a line for people; empty for one that this version does not know."""
    from datetime import datetime

    from kladml_cli.terminal import printable, styled

    words = printable("  ".join(_words(event)))
    if not words:
        return ""
    style = _STYLES.get(str(event.get("status")), {}) if event["event"] == "run_ended" else {}
    if event["event"] in ("run_started", "run_ended"):
        words = styled(words, sys.stdout, bold=True, **style)
    clock = f"{datetime.fromtimestamp(float(event['time'])).astimezone():%H:%M:%S}"
    return f"{styled(clock, sys.stdout, dim=True)}  {words}"


def _words(event: Mapping[str, Any]) -> Iterator[str]:
    from kladml_backends_console.wording import duration

    kind = event["event"]
    if kind == "run_started":
        yield f"{event['address']}  {event.get('status', 'RUNNING')}"
    elif kind == "run_ended":
        yield f"{event['status']} in {duration(float(event['seconds']))}"
        yield from _numbers(event["metrics"])
    elif kind == "epoch_ended":
        yield f"epoch {event['epoch']}"
        yield from _numbers(event["metrics"])
    elif kind == "step":
        yield f"step {event['step']}"
        yield from _numbers({"loss": event["loss"], "lr": event["lr"]})
    elif kind == "validated":
        yield f"step {event['step']}"
        yield from _numbers(event["metrics"])
    elif kind == "metrics":
        if event["step"]:
            yield f"step {event['step']}"
        yield from _numbers(event["metrics"])
    elif kind == "checkpoint_saved":
        yield f"step {event['step']}  checkpoint saved{', the best so far' if event['is_best'] else ''}"


def _numbers(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield metrics as words; a publisher may write what is no number as text."""
    from kladml_backends_console.wording import number

    for name, value in metrics.items():
        yield f"{name} {number(float(value))}"
