"""The screens beside the runs."""

from __future__ import annotations


def test_data_sets_and_what_is_in_them(play, workspace, kladml, fixed_times):
    (workspace / "d.csv").write_text("x,label\n1.5,a\n2.5,b\n", encoding="utf-8")
    assert kladml("data", "add", "small", "d.csv").status == 0
    (workspace / "d.csv").write_text("x,label\n1.5,a\n2.5,b\n3.5,b\n", encoding="utf-8")
    assert kladml("data", "add", "small", "d.csv").status == 0

    async def script(player):
        await player.sees("No runs")
        await player.press("d")
        await player.sees("Data sets  1, in 2 versions", "small@2", "small@1", "csv", "fingerprint")
        player.looks_like("data")
        await player.press("down", "tab", "pagedown")
        await player.sees("1 file\n")

    play(script)


def test_data_set_that_is_elsewhere_says_how_to_get_it(play, workspace, kladml):
    from kladml.testing.catalog_datasets import version_of
    from kladml_backends_local import SqlCatalog

    (workspace / "d.csv").write_text("x,label\n1.5,a\n", encoding="utf-8")
    assert kladml("data", "add", "small", "d.csv").status == 0
    with SqlCatalog(workspace / ".kladml/catalog.db") as catalog:
        catalog.note_dataset(version_of("big", 3, storage="s3/team"))

    async def script(player):
        await player.sees("No runs")
        await player.press("d")
        await player.sees("Data sets  2, in 2 versions", "big@3", "s3/team", "kladml data pull big@3 --storage s3")
        await player.press("down")
        await player.sees("from         d.csv")

    play(script)


def test_no_data_sets_say_how_to_add_one(play, workspace):
    async def script(player):
        await player.sees("No runs")
        await player.press("d")
        await player.sees("Add one with: kladml data add NAME PATH")

    play(script)


def test_configurations_are_checked_and_shown(play, workspace):
    (workspace / "kladml.yaml").write_text("training:\n  max_epochs: 7\n", encoding="utf-8")
    (workspace / "wrong.yaml").write_text("training:\n  max_epoch: 7\n", encoding="utf-8")

    async def script(player):
        await player.sees("No runs")
        await player.press("f")
        await player.sees("in force", "wrong.yaml", "training.max_epochs", "7  (", "defaults")
        await player.press("down")
        await player.sees("✓ fits", "max_epochs: 7")
        await player.press("down")
        await player.sees("✗", "wrong.yaml:2", "max_epoch: 7")
        player.looks_like("configs")

    play(script)


def test_plugins_are_listed_and_described_when_asked(play, workspace, install):
    install("lost-plugins", {("tracker", "lost"): "lost_module.plugin"})

    async def script(player):
        await player.sees("No runs")
        await player.press("p")
        await player.sees("KIND", "catalog", "sql", "kladml-backends-local", "broken")
        rows = [line for line in player.text().splitlines() if line.rstrip().endswith("-plugins")]
        assert [row.split() for row in rows] == [["tracker", "lost", "broken", "1.0", "lost-plugins"]]
        await player.press("enter")
        await player.sees("Remembers runs and data sets in SQLite")
        await player.press("tab", "end")
        await player.sees("password: str")

    play(script)


def test_messages_are_kept_off_the_terminal(play, workspace):
    from kladml.log import get_logger

    async def script(player):
        await player.sees("No runs")
        get_logger("kladml.test").warning("the disk is [red]almost[/] full")
        await player.press("l")
        await player.sees("messages of this session", "the disk is [red]almost[/] full")

    play(script)


def test_long_name_of_a_data_set_leaves_room_for_the_rest(play, workspace, kladml, fixed_times):
    (workspace / "d.csv").write_text("x,label\n1.5,a\n", encoding="utf-8")
    assert kladml("data", "add", "digit-images-with-a-long-name-for-a-data-set", "d.csv").status == 0

    async def script(player):
        await player.sees("No runs")
        await player.press("d")
        await player.sees("-set@1", "csv", "01-02 03:04", "digit-images-with-a-long-name-for-a-data-set@1")

    play(script)
