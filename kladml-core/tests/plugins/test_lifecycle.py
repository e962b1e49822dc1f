import logging
from pathlib import Path

import pytest

from kladml.errors import BrokenPluginError, StopRun
from kladml.plugins import LifecycleHooks, PluginEntry, PluginIndex, PluginRegistry, RunInfo, hookimpl

RUN = RunInfo("default/default/digits@3", "0f3c", backends={"storage": "s3"}, tags={"seed": "0"})


class Everything:
    """A plugin that notes every event with all of its arguments."""

    def __init__(self):
        self.events = []

    @hookimpl
    def kladml_run_started(self, run):
        self.events.append(("run_started", run))

    @hookimpl
    def kladml_epoch_ended(self, run, epoch, metrics):
        self.events.append(("epoch_ended", run, epoch, metrics))

    @hookimpl
    def kladml_checkpoint_saved(self, run, path, step, is_best):
        self.events.append(("checkpoint_saved", run, path, step, is_best))

    @hookimpl
    def kladml_run_ended(self, run, status, metrics):
        self.events.append(("run_ended", run, status, metrics))


def raising(error):
    class Raising:
        @hookimpl
        def kladml_run_started(self):
            raise error

        @hookimpl
        def kladml_epoch_ended(self):
            raise error

        @hookimpl
        def kladml_checkpoint_saved(self):
            raise error

        @hookimpl
        def kladml_run_ended(self):
            raise error

    return Raising()


def tell_everything(hooks):
    hooks.run_started(RUN)
    hooks.epoch_ended(RUN, 1, {"loss": 0.5})
    hooks.checkpoint_saved(RUN, Path("checkpoints/step-2"), 2, is_best=True)
    hooks.run_ended(RUN, "FINISHED", {"loss": 0.25})


EVERY_EVENT = [
    ("run_started", RUN),
    ("epoch_ended", RUN, 1, {"loss": 0.5}),
    ("checkpoint_saved", RUN, Path("checkpoints/step-2"), 2, True),
    ("run_ended", RUN, "FINISHED", {"loss": 0.25}),
]


def test_every_event_reaches_a_plugin_with_all_of_its_arguments():
    plugin = Everything()
    tell_everything(LifecycleHooks([("acme 1.0", plugin)]))
    assert plugin.events == EVERY_EVENT


def test_plugin_takes_only_the_events_and_arguments_that_it_wants():
    seen = []

    class Epochs:
        @hookimpl
        def kladml_epoch_ended(self, epoch):
            seen.append(epoch)

    tell_everything(LifecycleHooks([("acme 1.0", Epochs())]))
    assert seen == [1]


def test_no_plugins_are_no_trouble():
    tell_everything(LifecycleHooks())


def test_plugin_that_raises_is_reported_with_its_owner_and_stops_neither_others_nor_the_run(caplog):
    before, after = Everything(), Everything()
    plugins = [("one 1.0", before), ("acme 2.5", raising(ValueError("no disk"))), ("two 1.0", after)]
    tell_everything(LifecycleHooks(plugins))
    assert before.events == after.events == EVERY_EVENT
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, f"hook kladml_{event} failed and the run goes on (acme 2.5): ValueError: no disk")
        for event in ("run_started", "epoch_ended", "checkpoint_saved", "run_ended")
    ]


def test_plugin_cannot_change_what_the_next_one_sees():
    class Careless:
        @hookimpl
        def kladml_epoch_ended(self, metrics):
            metrics.clear()

    metrics = {"loss": 0.5}
    plugin = Everything()
    LifecycleHooks([("careless 1.0", Careless()), ("acme 1.0", plugin)]).epoch_ended(RUN, 1, metrics)
    assert plugin.events == [("epoch_ended", RUN, 1, {"loss": 0.5})]
    assert metrics == {"loss": 0.5}


@pytest.mark.parametrize(
    "event",
    [
        lambda hooks: hooks.run_started(RUN),
        lambda hooks: hooks.epoch_ended(RUN, 1, {}),
        lambda hooks: hooks.checkpoint_saved(RUN, Path("x"), 1, is_best=False),
    ],
)
def test_request_to_stop_gets_through_with_its_owner_after_all_were_told(event):
    after = Everything()
    asked = StopRun("the budget is spent", next_step="raise it")
    hooks = LifecycleHooks([("acme 2.5", raising(asked)), ("two 1.0", after)])
    with pytest.raises(StopRun) as caught:
        event(hooks)
    assert str(caught.value) == "the budget is spent (acme 2.5); raise it"
    assert caught.value.__cause__ is asked
    assert len(after.events) == 1


def test_owner_that_a_request_to_stop_names_itself_is_kept():
    with pytest.raises(StopRun, match=r"\(the guard\)"):
        LifecycleHooks([("acme", raising(StopRun("too hot", owner="the guard")))]).run_started(RUN)


def test_first_of_several_requests_to_stop_counts():
    plugins = [("one 1.0", raising(StopRun("first"))), ("two 1.0", raising(StopRun("second")))]
    with pytest.raises(StopRun, match=r"first \(one 1\.0\)"):
        LifecycleHooks(plugins).run_started(RUN)


def test_request_to_stop_at_the_end_is_only_reported(caplog):
    caplog.set_level(logging.INFO)
    LifecycleHooks([("acme 2.5", raising(StopRun("the budget is spent")))]).run_ended(RUN, "FINISHED", {})
    assert [record.message for record in caplog.records] == [
        "hook kladml_run_ended asks to stop the run (acme 2.5): the budget is spent"
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupts_get_through(error):
    with pytest.raises(type(error)):
        LifecycleHooks([("acme", raising(error))]).epoch_ended(RUN, 1, {})


class MisspeltHook:
    @hookimpl
    def kladml_epoch_endet(self, epoch): ...


class MisspeltArgument:
    @hookimpl
    def kladml_epoch_ended(self, epch): ...


@pytest.mark.parametrize(("plugin", "named"), [(MisspeltHook(), "kladml_epoch_endet"), (MisspeltArgument(), "epch")])
def test_misspelt_hook_of_a_users_object_is_an_error(plugin, named):
    registry = PluginRegistry(PluginIndex([]))
    with pytest.raises(BrokenPluginError, match=named) as caught:
        LifecycleHooks.installed(registry, [plugin])
    assert f"{type(plugin).__module__}.{type(plugin).__qualname__}" in str(caught.value)
    assert "\n" not in str(caught.value)


# Installed plugins

NOTES = """
from kladml.plugins import hookimpl

epochs = []

@hookimpl
def kladml_epoch_ended(epoch):
    epochs.append(epoch)
"""


def entry(name, value, *, disabled=False):
    return PluginEntry("hooks", name, name, "1.0", value, disabled)


def test_installed_plugins_and_objects_of_the_user_are_told(site):
    site.install("acme", entry_points={"kladml.hooks": {"notes": "acme_notes"}}, modules={"acme_notes": NOTES})
    plugin = Everything()
    LifecycleHooks.installed(PluginRegistry(), [plugin]).epoch_ended(RUN, 4, {})
    import acme_notes

    assert acme_notes.epochs == [4]
    assert plugin.events == [("epoch_ended", RUN, 4, {})]


def test_disabled_plugin_is_not_imported(site):
    site.write("acme_x", "raise RuntimeError('imported')")
    registry = PluginRegistry(PluginIndex([entry("acme", "acme_x", disabled=True)]))
    tell_everything(LifecycleHooks.installed(registry))


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_epoch_endet(): ...", "kladml_epoch_endet"),
        ("from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_epoch_ended(epch): ...", "epch"),
        ("def kladml_epoch_ended(epoch): ...", "implements no hook"),
    ],
)
def test_installed_plugin_that_does_not_load_is_reported_and_left_out(site, caplog, source, cause):
    site.write("acme_broken", source)
    site.write("acme_notes", NOTES)
    registry = PluginRegistry(PluginIndex([entry("broken", "acme_broken"), entry("notes", "acme_notes")]))
    LifecycleHooks.installed(registry).epoch_ended(RUN, 1, {})
    import acme_notes

    assert acme_notes.epochs == [1]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert cause in record.message
    assert "(broken 1.0)" in record.message


def test_two_plugins_of_one_name_are_both_told(site):
    site.write("one_notes", NOTES)
    site.write("two_notes", NOTES)
    entries = [PluginEntry("hooks", "notes", owner, "1.0", f"{owner}_notes") for owner in ("one", "two")]
    LifecycleHooks.installed(PluginRegistry(PluginIndex(entries))).epoch_ended(RUN, 2, {})
    import one_notes
    import two_notes

    assert (one_notes.epochs, two_notes.epochs) == ([2], [2])
