"""The first screen, as its user sees it."""

from __future__ import annotations

import sqlite3

from kladml.interfaces import ExperimentAddress


def test_runs_of_the_place_under_the_cursor_are_shown(play, bench, fixed_times):
    for experiment in ("default/default/digits", "vision/cnn/faces", "vision/cnn/digits"):
        bench.run(experiment)

    async def script(player):
        await player.sees("all runs  3 runs", "▶ vision", "digits@1", "vision/cnn/faces@1")
        player.looks_like("runs")
        await player.press("down", "down")
        await player.sees("vision  2 runs")
        await player.misses("default/default/digits@1")
        await player.press("enter", "down", "down")
        await player.sees("vision/cnn/digits  1 run", "@1          FINISHED")

    play(script)


def test_place_without_runs_is_in_the_tree(play, bench, kladml):
    kladml("family", "create", "Churn/Deep")

    async def script(player):
        await player.sees("No runs yet.", "kladml train", "▼ Churn")

    play(script)


def test_empty_workspace_says_how_to_begin(play, workspace):
    async def script(player):
        await player.sees("No runs yet.", "Make one with: kladml train", "? help", "q quit")
        player.looks_like("empty")

    play(script)


def test_no_workspace_is_a_sentence(play, folder):
    async def script(player):
        await player.sees("lies in no KladML workspace; run kladml init there first")

    play(script)


def test_broken_catalog_is_a_sentence_and_is_read_again(play, bench, workspace):
    bench.run()
    bench.close()
    good = (workspace / ".kladml" / "catalog.db").read_bytes()
    (workspace / ".kladml" / "catalog.db").write_bytes(b"not a database at all" * 99)

    async def script(player):
        await player.sees("catalog.db", "file is not a")
        assert len(player.text().splitlines()) == 24
        (workspace / ".kladml" / "catalog.db").write_bytes(good)
        await player.press("r")
        await player.sees("digits@1")
        await player.misses("file is not a")

    play(script)


def test_catalog_that_another_process_has_locked_is_waited_for(play, bench, workspace):
    bench.run()
    bench.close()
    lock = sqlite3.connect(workspace / ".kladml" / "catalog.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")

    async def script(player):
        await player.sees("KladML  reading…")
        lock.close()
        await player.sees("all runs  1 run", "digits@1")

    play(script)


def test_catalog_of_a_newer_version_is_refused(play, bench, workspace):
    bench.run()
    with sqlite3.connect(workspace / ".kladml" / "catalog.db") as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'kladml%version'").fetchone()
        connection.execute(f"UPDATE {table} SET version_num = '9999'")  # noqa: S608
    connection.close()

    async def script(player):
        await player.sees("newer")

    play(script)


def test_broken_configuration_is_a_sentence(play, bench, workspace):
    bench.run()
    (workspace / "kladml.yaml").write_text("trainin: 3\n", encoding="utf-8")

    async def script(player):
        await player.sees("kladml.yaml:1", "trainin")

    play(script)


def test_condition_and_order_choose_runs(play, bench):
    for lr in (0.1, 0.3, 0.2):
        bench.run(lr=lr)

    async def script(player):
        await player.sees("digits@3")
        await player.press("slash", *"val_loss > 0.05", "enter")
        await player.sees("2 runs  where val_loss > 0.05")
        assert "digits@1" not in player.text()
        await player.press("s", *"-params.lr", "enter")
        await player.sees("by -params.lr")
        lines = [line for line in player.text().splitlines() if "digits@" in line]
        assert ["@2" in lines[0], "@3" in lines[1]] == [True, True]
        await player.press("escape")
        await player.sees("digits@1", "3 runs")
        await player.press("slash", *"val_loss >", "enter")
        await player.sees("runs cannot be chosen by 'val_loss >'", "join comparisons with and, or, not")
        assert len(player.text().splitlines()) == 24
        await player.press("escape")
        await player.sees("digits@1")

    play(script)


def test_more_runs_are_read_at_the_end_of_the_table(play, bench):
    for _ in range(130):
        address = bench.catalog.add_run(ExperimentAddress("default", "default", "digits"), "0" * 32, {})
        bench.catalog.end_run(address, "FINISHED", {})

    async def script(player):
        await player.sees("50 of 130 runs", "digits@130")
        await player.press("tab", "ctrl+end")
        await player.sees("130 runs", "digits@81")
        await player.press("ctrl+end")
        await player.sees("digits@1 ", "all runs  130 runs")

    play(script)


def test_new_run_appears_and_the_cursor_stays(play, bench):
    bench.run()
    bench.run()

    async def script(player):
        await player.sees("digits@2")
        await player.press("tab", "down")
        bench.begin()
        await player.sees("digits@3", "RUNNING")
        assert player.app.screen.query_one("#runs").run.address.label == "1"

    play(script)


def test_help_shows_every_key(play, bench):
    async def script(player):
        await player.sees("No runs yet.")
        await player.press("question_mark")
        await player.sees("compare the marked runs", "sort by a metric")
        player.looks_like("help")
        await player.press("escape")
        await player.misses("compare the marked runs")

    play(script)


def test_q_ends_it(play, workspace):
    async def script(player):
        await player.sees("No runs yet.")
        await player.press("q")
        assert not player.app.is_running or player.app._exit

    play(script)


def test_keys_fit_80_columns(play, bench):
    async def script(player):
        await player.sees("No runs yet.")
        for key, title in (("d", "Data sets"), ("f", "Configurations"), ("p", "Plugins"), ("l", "Logs")):
            await player.press(key)
            await player.sees(title, "q quit", "? help", "esc back")
            await player.press("escape")
            await player.sees("No runs yet.")

    play(script)


def test_metric_that_was_asked_for_is_shown_first(play, bench):
    bench.run()

    async def script(player):
        await player.sees("STARTED loss val_loss", "digits@1")
        await player.press("s", *"-val_loss", "enter")
        await player.sees("STARTED val_loss loss")

    play(script)


def test_table_gets_what_a_larger_terminal_has(play, bench):
    bench.run("default/default/an-experiment-with-a-long-name")

    async def script(player):
        await player.sees("…")
        assert "an-experiment-with-a-long-name@1" not in player.text()
        await player.pilot.resize_terminal(120, 40)
        await player.sees("an-experiment-with-a-long-name@1", "val_loss", "0.0400")
        await player.pilot.resize_terminal(20, 5)
        await player.sees("all runs")
        await player.pilot.resize_terminal(80, 24)
        await player.sees("q quit", "name@1")

    play(script)


def test_mouse_chooses_places_and_runs(play, bench):
    bench.run("vision/cnn/faces")
    bench.run()

    async def script(player):
        await player.sees("vision/cnn/faces@1", "digits@1")
        (line,) = [place for place, text in enumerate(player.text().splitlines()) if "▶ vision" in text]
        await player.pilot.click(offset=(6, line))
        await player.sees("vision  1 run")
        await player.misses("digits@1")
        await player.pilot.click(offset=(40, 2))
        await player.pilot.click(offset=(40, 2))
        await player.sees("vision/cnn/faces@1  FINISHED", "METRIC")

    play(script)


def test_without_colours_the_text_is_as_bright_as_any(play, bench, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    bench.run(status="FAILED")

    async def script(player):
        await player.sees("FAILED")
        strips = player.app.screen._compositor.render_strips()
        colours = {
            segment.text.strip(): segment.style.color
            for strip in strips
            for segment in strip
            if segment.text.strip() in ("FAILED", "digits@1")
        }
        assert colours["FAILED"] == colours["digits@1"]

    play(script)
