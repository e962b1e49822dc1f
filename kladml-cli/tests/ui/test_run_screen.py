"""One run on the screen, also while it goes on, and several beside one another."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace

import pytest

from kladml.history.series import Series
from kladml_cli.run_listening import points_of
from kladml_cli.ui.live_points import add_points


def test_run_with_its_metrics_parameters_files_and_origin(play, bench, fixed_times):
    bench.run(lr=0.25)
    bench.date()

    async def script(player):
        await player.sees("digits@1")
        await player.press("tab", "enter")
        await player.sees("default/default/digits@1  FINISHED", "val_loss", "0.1000", "step", "●")
        player.looks_like("run")
        await player.press("2")
        await player.sees("training.optimizer.lr", "0.25")
        await player.press("3")
        await player.sees("0 files in storage local")
        await player.press("4")
        await player.sees("version  abc1")
        await player.press("escape")
        await player.sees("all runs  1 run")

    play(script)


def test_metric_under_the_cursor_is_plotted(play, bench):
    bench.run()

    async def script(player):
        await player.sees("digits@1")
        await player.press("tab", "enter")
        await player.sees("METRIC", "          loss\n")
        await player.press("down")
        await player.sees("          val_loss\n")

    play(script)


def test_failed_run_says_why(play, bench, fixed_times):
    bench.run(status="FAILED", error="NonFiniteError: the loss is nan")
    bench.date()

    async def script(player):
        await player.sees("FAILED")
        await player.press("l")
        await player.sees("runs that did not finish", "the loss is nan")
        player.looks_like("logs")
        await player.press("escape", "tab", "enter")
        await player.sees("digits@1  FAILED", "the loss is nan")
        player.looks_like("failed")

    play(script)


def test_run_that_goes_on_is_followed_to_its_end(play, bench):
    address, tracker = bench.begin()
    tracker.log_metrics({"loss": 4.0}, 1)

    async def script(player):
        await player.sees("RUNNING")
        await player.press("tab", "enter")
        await player.sees("digits@1  RUNNING", "4.0000")
        tracker.log_metrics({"loss": 3.0}, 2)
        await player.sees("3.0000     2")
        tracker.log_metrics({"loss": 2.5, "acc": 0.75}, 3)
        await player.sees("2.5000     3", "acc")
        tracker.end_run()
        bench.catalog.end_run(address, "FINISHED", {"loss": 2.5})
        await player.sees("digits@1  FINISHED")
        await player.press("escape")
        await player.misses("RUNNING")

    play(script)


def test_marked_runs_are_compared(play, bench):
    for lr in (0.1, 0.3, 0.2):
        bench.run(lr=lr)

    async def script(player):
        await player.sees("digits@3")
        await player.press("tab", "space")
        await player.sees("1 marked")
        await player.press("c")
        await player.sees("Mark two or more runs")
        await player.press("space")
        await player.sees("2 marked")
        await player.press("c")
        await player.sees("Compare 2 runs", "● digits@3", "○ digits@2", "0.0800 at 5", "0.1200 at 5")
        for notification in [*player.app._notifications]:
            player.app._unnotify(notification)
        await player.misses("Mark two")
        player.looks_like("compare")
        await player.press("2")
        await player.sees("training.optimizer.lr", "0.3")
        await player.press("escape", "u")
        await player.misses("marked")

    play(script)


def test_runs_without_differences_say_so(play, bench):
    bench.run()
    bench.run()

    async def script(player):
        await player.sees("digits@2")
        await player.press("tab", "space", "space", "c")
        await player.sees("Compare 2 runs")
        await player.press("2")
        await player.sees("No difference in configuration")

    play(script)


def test_tracker_that_cannot_be_read_leaves_the_rest(play, bench, workspace):
    bench.run()
    bench.close()
    (workspace / ".kladml" / "mlflow.db").write_bytes(b"broken" * 999)

    async def script(player):
        await player.sees("digits@1")
        await player.press("tab", "enter")
        await player.sees("digits@1  FINISHED", "0.0400", "the values of the metrics of default/default/digits@1")
        await player.press("escape", "l")
        await player.sees("the values of the metrics of", "cannot be read")

    play(script)


def test_long_names_and_many_metrics_stay_on_the_screen(play, bench):
    _, tracker = bench.begin("a-project-with-a-very-long-name/family/an-experiment-with-a-name-that-is-long")
    tracker.log_metrics({f"a_metric_with_a_very_long_name_number_{number}": number for number in range(40)}, 1)

    async def script(player):
        await player.sees("…", "RUNNING")
        await player.press("tab", "enter")
        await player.sees("METRIC", "a_metric_with_a_very_lo…", "q quit")
        assert all(len(line) <= 80 for line in player.text().splitlines())

    play(script)


def test_title_of_a_long_address_keeps_the_status(play, bench):
    bench.run("customer churn 2026/deep learning/an experiment with a long name and spaces")
    bench.run("customer churn 2026/deep learning/an experiment with a long name and spaces")

    async def script(player):
        await player.sees("spaces@2")
        await player.press("tab", "enter")
        await player.sees("…", " name and spaces@2  FINISHED", ", took 0:00")

    play(script)


def test_run_whose_process_is_no_more_is_lost(play, bench, start_kladml):
    address, _ = bench.begin()
    process = start_kladml("version")
    process.wait()
    note = {"pid": process.pid, "host": socket.gethostname(), "since": "2026-01-01"}
    (bench.state / "runs" / address.path / "holder.json").write_text(json.dumps(note))

    async def script(player):
        await player.sees("LOST")
        assert "RUNNING" not in player.text()
        await player.press("l")
        await player.sees("digits@1  LOST", f"its process {process.pid} is no more")
        await player.press("escape", "tab", "enter")
        await player.sees("digits@1  LOST", f"its process {process.pid} is no more and recorded no end")

    play(script)


def test_page_that_is_left_while_it_is_read_is_no_trouble(play, bench):
    bench.begin()

    async def script(player):
        await player.sees("RUNNING")
        await player.press("tab")
        for pause in range(8):
            await player.pilot.press("enter")
            await player.pilot.pause(0.05 * pause)
            await player.pilot.press("escape")
        await player.sees("all runs  1 run")

    play(script)


def test_what_is_heard_is_added_to_what_was_read():
    series = {"loss_step": Series("loss_step", "min", [1, 2], [0.5, 0.4])}
    page = SimpleNamespace(metrics=series, criterion=None)
    points = [("loss_step", 0.4, 0, 2), ("loss_step", 0.3, 0, 3), ("acc", 0.9, 0, 1), ("acc", 0.9, 0, 1)]
    assert add_points(page, points) == [points[1], points[2]]
    assert (series["loss_step"].steps, series["loss_step"].values) == ([1, 2, 3], [0.5, 0.4, 0.3])
    assert (series["acc"].mode, series["acc"].steps) == ("max", [1])
    assert add_points(page, points) == []


@pytest.mark.parametrize(
    ("message", "points"),
    [
        ({"event": "step", "step": 7, "loss": "NaN", "lr": 0.5}, ["loss_step nan 7", "lr_step 0.5 7"]),
        ({"event": "epoch_ended", "epoch": 3, "step": 9, "metrics": {"loss": 0.25}}, ["loss 0.25 3"]),
        ({"event": "validated", "epoch": 3, "step": 9, "metrics": {"val_loss": 1}}, ["val_loss_step 1.0 9"]),
        ({"event": "run_ended", "metrics": {"loss": 1}}, []),
        ({"event": "step", "step": 7}, []),
        ({"event": "epoch_ended", "epoch": "three", "metrics": {"loss": 1}}, []),
        ({"event": "epoch_ended", "epoch": 3, "metrics": [1]}, []),
        ({"event": None}, []),
    ],
)
def test_messages_become_what_a_tracker_records(message, points):
    found = points_of({"time": 1.5, **message})
    assert [f"{key} {value} {step}" for key, value, _, step in found] == points
    assert all(milliseconds == 1500 for _, _, milliseconds, _ in found)
