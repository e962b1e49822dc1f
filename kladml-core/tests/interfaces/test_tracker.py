import pytest

from kladml.errors import CapabilityError
from kladml.interfaces import RUN_STATUSES, TrackedRun, TrackerInterface


class MinimalTracker(TrackerInterface):
    """The four abstract methods and nothing more."""

    def __init__(self):
        self.calls = []

    def start_run(self, experiment_name, run_name=None):
        self.calls.append(("start", experiment_name, run_name))
        return "0f3c"

    def log_params(self, params):
        self.calls.append(("params", dict(params)))

    def log_metric(self, key, value, step=None):
        self.calls.append(("metric", key, value, step))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end", status))


def test_interface_has_exactly_these_abstract_methods():
    assert TrackerInterface.__abstractmethods__ == {"start_run", "log_params", "log_metric", "end_run"}


def test_statuses_are_those_of_mlflow():
    assert RUN_STATUSES == ("RUNNING", "FINISHED", "FAILED", "KILLED")


def test_several_metrics_are_logged_one_by_one_at_their_step():
    tracker = MinimalTracker()
    tracker.log_metrics({"loss": 0.5, "accuracy": 0.75}, step=3)
    tracker.log_metrics({"loss": 0.25})
    assert tracker.calls == [
        ("metric", "loss", 0.5, 3),
        ("metric", "accuracy", 0.75, 3),
        ("metric", "loss", 0.25, None),
    ]


def test_tags_become_parameters_where_there_are_no_tags():
    tracker = MinimalTracker()
    tracker.set_tags({"commit": "0f3c", "seed": "0"})
    assert tracker.calls == [("params", {"tags.commit": "0f3c", "tags.seed": "0"})]


def test_optional_steps_do_nothing():
    tracker = MinimalTracker()
    tracker.flush()
    assert tracker.how_to_view("0f3c") is None
    assert tracker.calls == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tracker: tracker.log_artifact("a.bin", "weights"), r"keep 'weights' \(a\.bin\): .* 'artifacts'"),
        (lambda tracker: tracker.get_run("0f3c"), "read run '0f3c' back: .* 'read'"),
        (lambda tracker: tracker.metric_history("0f3c", "loss"), "read 'loss' of run '0f3c' back: .* 'read'"),
        (lambda tracker: tracker.resume_run("0f3c"), "go on with run '0f3c': .* 'resume'"),
    ],
)
def test_optional_capabilities_say_that_they_are_missing(call, message):
    with pytest.raises(CapabilityError, match=f"MinimalTracker cannot {message}"):
        call(MinimalTracker())


def test_two_records_of_a_run_share_nothing():
    one, two = TrackedRun("1", "digits", "RUNNING"), TrackedRun("2", "digits", "RUNNING")
    one.metrics["loss"] = 0.5
    assert two.metrics == {}
