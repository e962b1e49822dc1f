import pytest

from kladml.interfaces import TrackerInterface
from kladml.testing import TrackerContract
from kladml.testing.fakes import MemoryTracker


class MinimalTracker(TrackerInterface):
    """The four abstract methods and nothing more."""

    def __init__(self):
        self.lines = []

    def start_run(self, experiment_name, run_name=None):
        self.lines.append(("start", experiment_name, run_name))
        return f"run-{len(self.lines)}"

    def log_params(self, params):
        self.lines.append(("params", dict(params)))

    def log_metric(self, key, value, step=None):
        self.lines.append(("metric", key, value, step))

    def end_run(self, status="FINISHED"):
        self.lines.append(("end", status))


class TestMemoryTracker(TrackerContract):
    @pytest.fixture
    def tracker(self):
        return MemoryTracker()

    @pytest.fixture
    def reopen(self, tracker):
        def open_again():
            second = MemoryTracker()
            second.runs = tracker.runs
            return second

        return open_again


class TestMinimalTracker(TrackerContract):
    @pytest.fixture
    def tracker(self):
        return MinimalTracker()


CONTRACT = """
import math
import sys

import pytest

from kladml.errors import TrackerError
from kladml.interfaces import TrackedRun
from kladml.testing import TrackerContract
from kladml.testing.fakes import MemoryTracker
{broken}

class TestBroken(TrackerContract):
    @pytest.fixture
    def tracker(self):
        return Broken()
"""


def broken(source):
    return CONTRACT.format(broken=source)


def test_contract_itself_fails_nothing(failing_cases):
    assert failing_cases(broken("class Broken(MemoryTracker): pass")) == set()


def test_tracker_that_has_no_infinity_but_the_largest_number_is_fine(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metric(self, key, value, step=None):
        largest = {math.inf: sys.float_info.max, -math.inf: -sys.float_info.max}
        super().log_metric(key, largest.get(value, value), step)
"""
    assert failing_cases(broken(source)) == set()


def test_tracker_that_drops_nan(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metric(self, key, value, step=None):
        if not math.isnan(value):
            super().log_metric(key, value, step)
"""
    assert failing_cases(broken(source)) == {"test_values_that_are_no_numbers_do_not_end_the_run"}


def test_tracker_that_refuses_infinity(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metric(self, key, value, step=None):
        if math.isinf(value):
            raise TrackerError("not a number")
        super().log_metric(key, value, step)
"""
    assert failing_cases(broken(source)) == {"test_values_that_are_no_numbers_do_not_end_the_run"}


def test_tracker_that_loses_the_status(failing_cases):
    source = """
class Broken(MemoryTracker):
    def end_run(self, status="FINISHED"):
        super().end_run("FINISHED")
"""
    cases = {"test_run_ends_with_its_status", "test_run_without_records", "test_runs_do_not_mix"}
    assert failing_cases(broken(source)) == cases


def test_tracker_that_names_runs_after_their_experiment(failing_cases):
    source = """
class Broken(MemoryTracker):
    def start_run(self, experiment_name, run_name=None):
        run_id = super().start_run(experiment_name, run_name)
        self.runs[experiment_name] = self.runs.pop(run_id)
        self.runs[experiment_name].run_id = experiment_name
        return experiment_name
"""
    assert failing_cases(broken(source)) == {
        "test_every_run_has_an_identifier_of_its_own",
        "test_resumed_run_is_no_new_run",
    }


def test_tracker_that_forgets_the_second_page(failing_cases):
    source = """
class Broken(MemoryTracker):
    def metric_history(self, run_id, key):
        return super().metric_history(run_id, key)[:100]
"""
    assert failing_cases(broken(source)) == {"test_history_is_complete_and_in_order"}


def test_tracker_whose_server_takes_a_thousand_metrics_a_request(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metrics(self, metrics, step=None):
        if len(metrics) > 1000:
            raise TrackerError("INVALID_PARAMETER_VALUE")
        super().log_metrics(metrics, step)
"""
    assert failing_cases(broken(source)) == {"test_many_metrics_at_once"}


def test_tracker_whose_server_takes_a_hundred_params_a_request(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_params(self, params):
        if len(params) > 100:
            raise TrackerError("INVALID_PARAMETER_VALUE")
        super().log_params(params)
"""
    assert failing_cases(broken(source)) == {"test_many_params_at_once"}


def test_tracker_that_keeps_one_value_per_step(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metric(self, key, value, step=None):
        history = self._run().history.setdefault(key, [])
        history[:] = [*dict([*history, (step or 0, value)]).items()]
"""
    assert failing_cases(broken(source)) == {"test_same_key_and_step_may_come_again"}


def test_tracker_that_rounds(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_metric(self, key, value, step=None):
        super().log_metric(key, float(f"{value:.6g}"), step)
"""
    assert failing_cases(broken(source)) == {"test_history_is_complete_and_in_order"}


def test_tracker_whose_params_replace_earlier_ones(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_params(self, params):
        self._run().params = dict(params)
"""
    assert failing_cases(broken(source)) == {"test_params_add_up", "test_resumed_run_goes_on_where_it_ended"}


def test_tracker_that_flattens_the_params_it_was_given(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_params(self, params):
        for key, value in params.items():
            params[key] = str(value)
        super().log_params(params)
"""
    assert failing_cases(broken(source)) == {"test_params_of_every_type"}


def test_tracker_whose_second_run_starts_with_the_first_ones_records(failing_cases):
    source = """
class Broken(MemoryTracker):
    def start_run(self, experiment_name, run_name=None):
        run_id = super().start_run(experiment_name, run_name)
        for run in self.runs.values():
            self.runs[run_id].params.update(run.params)
        return run_id
"""
    assert failing_cases(broken(source)) == {"test_runs_do_not_mix"}


def test_tracker_that_writes_only_at_the_end(failing_cases):
    source = """
class Broken(MemoryTracker):
    def get_run(self, run_id):
        run = super().get_run(run_id)
        return TrackedRun(run_id, run.experiment_name, "RUNNING") if run.status == "RUNNING" else run
"""
    assert failing_cases(broken(source)) == {"test_running_run_reads_back_after_flush"}


def test_tracker_that_trusts_the_names_of_artifacts(failing_cases):
    source = """
class Broken(MemoryTracker):
    def log_artifact(self, local_path, name):
        try:
            super().log_artifact(local_path, "a name")
        except TrackerError:
            pass
"""
    cases = {"test_artifacts", "test_artifact_name_does_not_leave_the_run"}
    assert failing_cases(broken(source)) == cases


def test_tracker_that_answers_for_runs_it_does_not_have(failing_cases):
    source = """
class Broken(MemoryTracker):
    def get_run(self, run_id):
        return super().get_run(run_id) if run_id in self.runs else TrackedRun(run_id, "", "RUNNING")
"""
    assert failing_cases(broken(source)) == {"test_reading_an_unknown_run"}


def test_tracker_that_resumes_nothing_although_it_says_so(failing_cases):
    source = """
class Broken(MemoryTracker):
    def resume_run(self, run_id):
        pass
"""
    cases = {"test_resumed_run_goes_on_where_it_ended", "test_resumed_run_is_no_new_run"}
    assert failing_cases(broken(source)) == cases | {"test_resuming_an_unknown_run"}


def test_tracker_whose_resumed_run_still_looks_ended(failing_cases):
    source = """
class Broken(MemoryTracker):
    def resume_run(self, run_id):
        status = self._known(run_id).status
        super().resume_run(run_id)
        self._active.status = status
"""
    assert failing_cases(broken(source)) == {"test_resumed_run_goes_on_where_it_ended"}


def test_tracker_whose_resumed_run_starts_empty(failing_cases):
    source = """
class Broken(MemoryTracker):
    def resume_run(self, run_id):
        super().resume_run(run_id)
        self._active.history.clear()
"""
    assert failing_cases(broken(source)) == {"test_resumed_run_goes_on_where_it_ended"}


def test_tracker_that_resumes_only_what_it_began_itself(failing_cases):
    source = """
class Broken(MemoryTracker):
    everything = {}

    def __init__(self):
        self.runs, self._active, self.mine = self.everything, None, set()

    def start_run(self, experiment_name, run_name=None):
        run_id = super().start_run(experiment_name, run_name)
        self.mine.add(run_id)
        return run_id

    def resume_run(self, run_id):
        if run_id not in self.mine:
            raise TrackerError("not mine")
        super().resume_run(run_id)
"""
    reopen = """
    @pytest.fixture
    def reopen(self):
        return Broken
"""
    assert failing_cases(broken(source) + reopen) == {"test_run_that_never_ended_is_resumed_elsewhere"}


def test_tracker_that_resumes_runs_it_does_not_have(failing_cases):
    source = """
class Broken(MemoryTracker):
    def resume_run(self, run_id):
        if run_id in self.runs:
            super().resume_run(run_id)
        else:
            self.start_run("made up")
"""
    assert failing_cases(broken(source)) == {"test_resuming_an_unknown_run"}


def test_tracker_that_does_not_declare_that_it_resumes(failing_cases):
    source = """
class Broken(MemoryTracker):
    capabilities = frozenset({"artifacts", "read"})
"""
    cases = {"test_capabilities_are_declared_where_they_are_implemented", "test_resuming_an_unknown_run"}
    assert failing_cases(broken(source)) == cases
