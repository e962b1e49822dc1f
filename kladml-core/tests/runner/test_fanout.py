"""Several backends, of which some fail."""

import pytest

from kladml.errors import BackendError, TrackerError
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
    trackers = fan_out(Flaky())
    trackers.start_run("e", None)
    assert trackers.how_to_view() == []
    assert trackers.warnings() == ["tracker t0 (acme 1.0): 1 calls failed, last: RuntimeError: no idea"]


def test_borrowed_backends_are_left_open():
    own, lent = Flaky(), Flaky()
    fan_out(own).close()
    fan_out(lent, borrowed=True).close()
    assert own.closed
    assert not hasattr(lent, "closed")


class Resuming(Flaky):
    def __init__(self, known=(), failing=()):
        super().__init__(failing)
        self.known = known

    def resume_run(self, run_id):
        if run_id not in self.known:
            raise TrackerError(f"there is no run '{run_id}'")
        self.resumed = run_id


def test_each_tracker_goes_on_with_its_run_or_starts_a_new_one(caplog):
    one, two, three = Resuming({"a"}), Resuming({"x"}), Resuming()
    members = fan_out(one, two, three)
    assert members.start_run("e", None, [("t1", "b"), ("t0", "a")]) == "a"
    assert members.run_ids() == [("t0", "a"), ("t1", "id of e"), ("t2", "id of e")]
    assert [member.name for member in members.resumed] == ["t0"]
    assert (
        "tracker t1 (acme 1.0) starts a new run, because it cannot go on with 'b': there is no run 'b'" in caplog.text
    )
    assert len(caplog.records) == 1


def test_trackers_of_one_name_each_have_a_run():
    one, two = Resuming({"a"}), Resuming({"b"})
    members = FanOut([Selected("tracker", "t", "acme 1.0", backend) for backend in (one, two)])
    assert members.start_run("e", None, [("t", "a"), ("t", "b")]) == "a"
    assert (one.resumed, two.resumed) == ("a", "b")


def test_a_tracker_that_is_down_is_left_out_of_a_resumed_run():
    class Down(Resuming):
        def resume_run(self, run_id):
            raise ConnectionError("no route")

    members = fan_out(Down(), Resuming({"b"}))
    assert members.start_run("e", None, [("t0", "a"), ("t1", "b")]) == "b"
    assert members.run_ids() == [("t1", "b")]
