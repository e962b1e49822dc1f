"""Several backends, of which some fail."""

import pytest

from kladml.errors import BackendError
from kladml.runner.fanout import FAILURES_UNTIL_OFF, FanOut
from kladml.runner.selection import Selected


class Flaky:
    def __init__(self, failing=()):
        self.failing = set(failing)
        self.calls = 0

    def work(self):
        self.calls += 1
        if self.calls in self.failing:
            raise ConnectionError(f"call {self.calls}")

    def start_run(self, experiment_name, run_name):
        if "start" in self.failing:
            raise ConnectionError("cannot start")
        return f"id of {experiment_name}"

    def how_to_view(self, run_id):
        raise RuntimeError("no idea")

    def close(self):
        self.closed = True


def fan_out(*backends, borrowed=False):
    members = [Selected("tracker", f"t{i}", "acme 1.0", backend, borrowed) for i, backend in enumerate(backends)]
    return FanOut(members)


def test_one_that_keeps_failing_is_left_out_after_some_failures_in_a_row(caplog):
    bad, good = Flaky(range(100)), Flaky()
    bad.failing = set(range(1, 100))
    members = fan_out(bad, good)
    for _ in range(10):
        members.call("work")
    assert (bad.calls, good.calls) == (FAILURES_UNTIL_OFF, 10)
    assert len(caplog.records) == 2
    assert members.warnings() == ["tracker t0 (acme 1.0): 10 calls failed, last: ConnectionError: call 3"]


def test_one_that_recovers_is_called_again():
    backend = Flaky({1, 2, 4, 5})
    members = fan_out(backend)
    for _ in range(8):
        members.call("work")
    assert backend.calls == 8


def test_the_end_of_a_run_is_told_to_all():
    backend = Flaky(set(range(1, 100)))
    members = fan_out(backend)
    for _ in range(5):
        members.call("work")
    members.call("work", always=True)
    assert backend.calls == FAILURES_UNTIL_OFF + 1


def test_the_first_tracker_that_starts_gives_the_identifier(caplog):
    members = fan_out(Flaky({"start"}), Flaky())
    assert members.start_run("e", None) == "id of e"
    assert len(members.members) == 1
    assert "tracker 't0' cannot be used: ConnectionError: cannot start (acme 1.0)" in caplog.text


def test_when_no_tracker_starts_the_first_error_is_raised():
    with pytest.raises(BackendError, match="cannot start") as caught:
        fan_out(Flaky({"start"}), Flaky({"start"})).start_run("e", None)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_without_trackers_there_is_no_identifier():
    assert fan_out().start_run("e", None) is None


def test_a_hint_that_fails_is_only_a_warning():
    assert fan_out(Flaky()).how_to_view("x") == []


def test_borrowed_backends_are_left_open():
    own, lent = Flaky(), Flaky()
    fan_out(own).close()
    fan_out(lent, borrowed=True).close()
    assert own.closed
    assert not hasattr(lent, "closed")
