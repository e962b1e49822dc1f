"""The limits of names and texts; that they are MLflow's is tested where MLflow is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.errors import RefusedRunError, TrackerError
from kladml.spool.events import Artifact, Batch, DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.limits import acceptable, changed_param, check_names, check_run, malformed_name, shown, storable


@pytest.mark.parametrize("name", ["a", "a/b", "train/loss 1:2.5-x_y", "日本", "é", "a" * 250, ".a", " "])
def test_names_that_are_taken(name):
    assert malformed_name(name) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "/a", "a/", "a//b", "a/../b", "a/./b", "a\n", "a*b", "a@b", "🚀"]
)
def test_names_that_are_refused(name):
    assert malformed_name(name)
    with pytest.raises(TrackerError, match=r"the metric .* cannot be recorded: .* \(acme\); choose another name"):
        check_names("metric", ["fine", name], "acme")


def test_name_that_is_too_long_is_not_shown_whole():
    assert malformed_name("a" * 251) == "the name has more than 250 characters"
    with pytest.raises(TrackerError) as caught:
        check_names("tag", ["a" * 10_000], "acme")
    assert len(str(caught.value)) < 250


@given(st.text(st.characters()))
def test_any_text_can_be_stored(text):
    storable(text).encode("utf-8")
    assert storable(text) == text or not text.isprintable()


@pytest.mark.parametrize("run_id", ["", "x" * 32, "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n", "../" + "0" * 29])
def test_malformed_run_is_refused(run, run_id):
    with pytest.raises(RefusedRunError, match="is no identifier of a run"):
        check_run(replace(run, run_id=run_id), "acme")


def test_experiment_of_a_new_run_needs_a_name(run):
    for name in ("", "x" * 501):
        with pytest.raises(RefusedRunError, match="is no name of an experiment"):
            check_run(replace(run, experiment_name=name), "acme")
        check_run(replace(run, experiment_name=name, goes_on=True), "acme")
    check_run(replace(run, experiment_name="x" * 500), "acme")


def test_what_a_store_takes_passes_untouched(run):
    events = [
        Params({"a": "1"}),
        Tags({"b": "x"}),
        ExperimentTags({"c": "x"}),
        DatasetInput("n", "d", "local", "{}", "{}", None, "training"),
        Artifact("a", "b"),
        Status("FINISHED", 1),
    ]
    batch = Batch([("loss", 0.5, 1, 1)], events)
    assert acceptable(run, batch) == (batch, [])


def test_what_no_store_takes_is_left_out_and_said_once_for_each_name(run):
    points = [("loss", 0.5, 1, 1), ("a*", 0.5, 1, 1), ("a*", 0.5, 1, 2)]
    events = [Params({"a": "1", "b*": "2"}), Tags({"c*": "3"}), DatasetInput("n", "d" * 37, "local", "{}")]
    batch, refused = acceptable(run, Batch(points, events))
    assert batch == Batch(points[:1], [Params({"a": "1"}), Tags({})])
    assert [" ".join(sentence.split()[:3]) for sentence in refused] == [
        "the metric 'a*'",
        "the parameter 'b*'",
        "the tag 'c*'",
        "the data set",
    ]
    assert all(run.run_id in sentence for sentence in refused)
    assert len(points) == 3


def test_long_texts_are_cut(run):
    batch = Batch(events=[Params({"a": "x" * 9_000}), Tags({"b": "x" * 9_000}), ExperimentTags({"c": "x" * 30_000})])
    taken, refused = acceptable(run, batch)
    assert [len(value) for event in taken.events for value in event.values.values()] == [6_000, 8_000, 20_000]
    assert refused == []


def test_texts_that_utf_8_cannot_say_are_made_such(run):
    half = "\ud83d"
    batch = Batch(events=[Params({"a": half}), DatasetInput(half, "d", "local", half)])
    taken, refused = acceptable(run, batch)
    assert taken.events == [Params({"a": "?"}), DatasetInput("?", "d", "local", "?")]
    assert refused == []


def test_values_are_shown_short(run):
    assert shown("x" * 60) == repr("x" * 60)
    assert shown("x" * 61) == repr("x" * 60 + "…")
    assert (
        changed_param(run, "a", "1", "2") == f"the parameter 'a' of run '{run.run_id}' stays '1', and '2' is not kept"
    )
