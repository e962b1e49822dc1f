"""The contract of trackers."""

from __future__ import annotations

import copy
import math
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kladml.errors import CapabilityError, TrackerError
from kladml.testing.comparison import difference
from kladml.testing.tracker_resume import END_STATUSES, EXPERIMENT
from kladml.testing.tracker_search import TrackerSearchContract

if TYPE_CHECKING:
    from kladml.interfaces import TrackerInterface


_PARAMS: dict[str, Any] = {
    "training.max_epochs": 3,
    "training.lr": 1e-3,
    "training.compile": False,
    "training.clipping": None,
    "model.layers": [64, [32, 16]],
    "model.options": {"bias": True, "name": "cnn"},
    "note": "naïve 模型 🚀, two\nlines",
    "empty": "",
}


class TrackerContract(TrackerSearchContract):
    """The rules for a tracker. A subclass defines the fixture `tracker`.

    What can be read back (`read` in `capabilities`) is compared with what was recorded. `many` (how many
    metrics are recorded at once) and `steps` (how many values one metric has) may be overridden. Overriding the
    fixture `reopen` tests as well that another process can go on with a run.
    """

    @pytest.fixture
    def reader(self, tracker: TrackerInterface) -> TrackerInterface:
        """The tracker, where it can read runs back."""
        if "read" not in tracker.capabilities:
            pytest.skip("this tracker does not offer the capability 'read'")
        return tracker

    @pytest.fixture
    def many(self) -> int:
        """Number of metrics at once; more than 1,000, where servers refuse a batch."""
        return 1_100

    @pytest.fixture
    def steps(self) -> int:
        """Number of values of a metric, each recorded by a call; more than 100, where services start a second page."""
        return 150

    # Runs

    def test_every_run_has_an_identifier_of_its_own(self, tracker: TrackerInterface) -> None:
        """One instance follows one run after the other; each gets a new identifier, whatever its names."""
        run_ids = []
        for run_name in (None, "again", "again", "naïve 模型 🚀"):
            run_ids.append(tracker.start_run(EXPERIMENT, run_name))
            tracker.log_metric("loss", 0.5, 1)
            tracker.end_run()
        assert [run_id for run_id in run_ids if not _is_text(run_id)] == []
        assert len(set(run_ids)) == len(run_ids)

    @pytest.mark.parametrize("status", END_STATUSES)
    def test_run_ends_with_its_status(self, tracker: TrackerInterface, status: str) -> None:
        """A run ends with any end status; a failed one must not look finished."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_metric("loss", 0.5, 1)
        tracker.end_run(status)
        if "read" in tracker.capabilities:
            assert tracker.get_run(run_id).status == status

    def test_run_without_records(self, tracker: TrackerInterface) -> None:
        """A run that fails before its first record is still a run, and nothing to record is no error."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_params({})
        tracker.log_metrics({})
        tracker.set_tags({})
        tracker.flush()
        tracker.end_run("FAILED")
        if "read" in tracker.capabilities:
            run = tracker.get_run(run_id)
            assert (run.run_id, run.status, run.params, run.metrics) == (run_id, "FAILED", {}, {})

    def test_how_to_view_is_text_or_none(self, tracker: TrackerInterface) -> None:
        """`how_to_view` gives a line for the run's closing summary, or None."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.end_run()
        assert isinstance(tracker.how_to_view(run_id), str | None)

    # Parameters and tags

    def test_params_of_every_type(self, tracker: TrackerInterface) -> None:
        """Values of all types that a configuration has are recorded, as `str` writes them."""
        given = copy.deepcopy(_PARAMS)
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_params(given)
        tracker.end_run()
        assert given == _PARAMS
        if "read" in tracker.capabilities:
            assert tracker.get_run(run_id).params == {key: str(value) for key, value in _PARAMS.items()}

    def test_params_add_up(self, tracker: TrackerInterface) -> None:
        """Later parameters do not take the place of earlier ones, nor do tags."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_params({"a": 1})
        tracker.set_tags({"note": "naïve 模型"})
        tracker.log_params({"b": 2})
        tracker.end_run()
        if "read" in tracker.capabilities:
            run = tracker.get_run(run_id)
            assert {"a": "1", "b": "2"}.items() <= run.params.items()
            assert run.tags.get("note", run.params.get("tags.note")) == "naïve 模型"

    def test_long_param_does_not_end_the_run(self, tracker: TrackerInterface) -> None:
        """A parameter of 100,000 characters is recorded, at least its first 250; servers set limits of their own."""
        text = "0123456789" * 10_000
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_params({"long": text, "short": "x"})
        tracker.end_run()
        if "read" in tracker.capabilities:
            params = tracker.get_run(run_id).params
            assert params["short"] == "x"
            assert params["long"].startswith(text[:250])

    def test_many_params_at_once(self, tracker: TrackerInterface) -> None:
        """A resolved configuration has hundreds of keys; servers take a hundred parameters a request."""
        params = {f"section.key{number}": number for number in range(250)}
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_params(params)
        tracker.end_run()
        if "read" in tracker.capabilities:
            assert tracker.get_run(run_id).params == {key: str(value) for key, value in params.items()}

    # Metrics

    def test_metrics_with_and_without_a_step(self, tracker: TrackerInterface) -> None:
        """A metric is an int or a float, of any size; its step may be left out, be 0, or be huge."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_metric("whole", 3)
        tracker.log_metric("first", -0.5, 0)
        tracker.log_metric("tiny", 5e-324, 2**40)
        tracker.log_metrics({"loss": 0.1, "val_loss": 1e300}, 7)
        tracker.log_metrics({"no_step": 2.5})
        tracker.end_run()
        if "read" in tracker.capabilities:
            expected = {"whole": 3, "first": -0.5, "tiny": 5e-324, "loss": 0.1, "val_loss": 1e300, "no_step": 2.5}
            assert tracker.get_run(run_id).metrics == expected
            steps = {"whole": 0, "first": 0, "tiny": 2**40, "loss": 7, "no_step": 0}
            assert {key: tracker.metric_history(run_id, key)[0][0] for key in steps} == steps

    def test_values_that_are_no_numbers_do_not_end_the_run(self, tracker: TrackerInterface) -> None:
        """NaN and infinity are recorded: they are how one sees that a run went wrong.

        A store without infinities may use the largest number of the same sign, as MLflow does.
        """
        values = [1.0, math.nan, math.inf, -math.inf, 0.5]
        run_id = tracker.start_run(EXPERIMENT)
        for step, value in enumerate(values):
            tracker.log_metric("loss", value, step)
        tracker.log_metric("last", math.nan, 0)
        tracker.end_run("FAILED")
        if "read" in tracker.capabilities:
            history = tracker.metric_history(run_id, "loss")
            largest = {sys.float_info.max: math.inf, -sys.float_info.max: -math.inf}
            assert [step for step, _ in history] == [0, 1, 2, 3, 4]
            assert [repr(largest.get(value, value)) for _, value in history] == [repr(value) for value in values]
            assert math.isnan(tracker.get_run(run_id).metrics["last"])

    def test_same_key_and_step_may_come_again(self, tracker: TrackerInterface) -> None:
        """A metric that is recorded twice at a step keeps both values; a resumed run repeats some steps."""
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_metric("loss", 0.5, 1)
        tracker.log_metric("loss", 0.25, 1)
        tracker.end_run()
        if "read" in tracker.capabilities:
            assert sorted(tracker.metric_history(run_id, "loss")) == [(1, 0.25), (1, 0.5)]

    def test_many_metrics_at_once(self, tracker: TrackerInterface, many: int) -> None:
        """`log_metrics` takes as many metrics as there are; servers take a thousand a request."""
        metrics = {f"class_{number}/recall": number / 8 for number in range(many)}
        run_id = tracker.start_run(EXPERIMENT)
        tracker.log_metrics(metrics, 1)
        tracker.end_run()
        if "read" in tracker.capabilities:
            assert difference(sorted(tracker.get_run(run_id).metrics.items()), sorted(metrics.items())) is None

    # Reading back: capability `read`

    def test_history_is_complete_and_in_order(self, reader: TrackerInterface, steps: int) -> None:
        """All values come back, to the last bit, in the order of recording; `metrics` has the last one."""
        recorded = [(step, 1 / (step + 3)) for step in range(steps)]
        run_id = reader.start_run(EXPERIMENT)
        for step, value in recorded:
            reader.log_metric("loss", value, step)
        reader.end_run()
        assert difference(reader.metric_history(run_id, "loss"), recorded) is None
        assert reader.metric_history(run_id, "absent") == []
        assert reader.get_run(run_id).metrics == {"loss": recorded[-1][1]}

    def test_running_run_reads_back_after_flush(self, reader: TrackerInterface) -> None:
        """After `flush`, someone who looks sees the run, what it recorded so far, and that it goes on."""
        run_id = reader.start_run(EXPERIMENT, "a name")
        reader.log_params({"a": 1})
        reader.log_metric("loss", 0.5, 1)
        reader.flush()
        run = reader.get_run(run_id)
        reader.end_run()
        assert (run.run_id, run.experiment_name, run.status) == (run_id, EXPERIMENT, "RUNNING")
        assert (run.params, run.metrics) == ({"a": "1"}, {"loss": 0.5})

    def test_runs_do_not_mix(self, reader: TrackerInterface) -> None:
        """A second run on the same instance starts empty, and the first stays as it was."""
        first = reader.start_run(EXPERIMENT)
        reader.log_params({"a": 1})
        reader.log_metric("loss", 0.5, 1)
        reader.end_run("FAILED")
        second = reader.start_run("contract/trackers/other")
        reader.log_metric("accuracy", 0.75, 1)
        reader.end_run()
        one, two = reader.get_run(first), reader.get_run(second)
        assert (one.experiment_name, one.status, one.params, one.metrics) == (
            EXPERIMENT, "FAILED", {"a": "1"}, {"loss": 0.5},
        )  # fmt: skip
        assert (two.experiment_name, two.status, two.params, two.metrics) == (
            "contract/trackers/other", "FINISHED", {}, {"accuracy": 0.75},
        )  # fmt: skip

    def test_reading_an_unknown_run(self, tracker: TrackerInterface) -> None:
        """A run that does not exist raises `TrackerError`; a tracker that reads nothing back says so."""
        if "read" in tracker.capabilities:
            with pytest.raises(TrackerError):
                tracker.get_run("0" * 32)
            return
        with pytest.raises(CapabilityError, match="read"):
            tracker.get_run("0" * 32)
        with pytest.raises(CapabilityError, match="read"):
            tracker.metric_history("0" * 32, "loss")

    # Artifacts: capability `artifacts`

    def test_artifacts(self, tracker: TrackerInterface, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A file is kept under a relative name and stays where it was; an absent one raises `TrackerError`.

        A tracker that keeps no files says so.
        """
        folder = tmp_path_factory.mktemp("artifacts")
        local = folder / "model.bin"
        local.write_bytes(b"content")
        tracker.start_run(EXPERIMENT)
        if "artifacts" in tracker.capabilities:
            tracker.log_artifact(local, "weights/model.bin")
            tracker.log_artifact(str(local), "copy.bin")
            with pytest.raises(TrackerError):
                tracker.log_artifact(folder / "absent.bin", "absent.bin")
        else:
            with pytest.raises(CapabilityError, match="artifacts"):
                tracker.log_artifact(local, "weights/model.bin")
        tracker.end_run()
        assert local.read_bytes() == b"content"

    @pytest.mark.parametrize("name", ["../escaped.bin", "a/../../escaped.bin", "/escaped.bin", ""])
    def test_artifact_name_does_not_leave_the_run(
        self, tracker: TrackerInterface, tmp_path_factory: pytest.TempPathFactory, name: str
    ) -> None:
        """A name that is no relative path raises `TrackerError`: a run's files stay with the run."""
        if "artifacts" not in tracker.capabilities:
            pytest.skip("this tracker does not offer the capability 'artifacts'")
        local = tmp_path_factory.mktemp("artifacts") / "model.bin"
        local.write_bytes(b"content")
        tracker.start_run(EXPERIMENT)
        with pytest.raises(TrackerError):
            tracker.log_artifact(local, name)
        tracker.end_run()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
