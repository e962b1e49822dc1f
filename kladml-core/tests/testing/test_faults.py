import pytest

from kladml.errors import PublisherError, TrackerError
from kladml.testing.fakes import MemoryPublisher, MemoryTracker
from kladml.testing.faults import failing


def test_method_fails_after_some_calls_and_works_again_afterwards():
    tracker = MemoryTracker()
    run_id = tracker.start_run("experiment")
    error = TrackerError("the server is gone")
    with failing(tracker, "log_metric", error, after=2):
        tracker.log_metric("loss", 3.0, 1)
        tracker.log_metric("loss", 2.0, step=2)
        for _ in range(2):
            with pytest.raises(TrackerError) as caught:
                tracker.log_metric("loss", 1.0, 3)
            assert caught.value is error
    tracker.log_metric("loss", 0.5, 4)
    assert tracker.metric_history(run_id, "loss") == [(1, 3.0), (2, 2.0), (4, 0.5)]


def test_other_objects_of_the_class_go_on_working():
    broken, sound = MemoryPublisher(), MemoryPublisher()
    with failing(broken, "publish", PublisherError("nobody listens")):
        sound.publish("channel", {"event": "step"})
        with pytest.raises(PublisherError):
            broken.publish("channel", {"event": "step"})
    assert sound.messages == [("channel", {"event": "step"})]
    assert broken.messages == []


def test_an_error_in_the_block_still_restores_the_method():
    publisher = MemoryPublisher()
    with pytest.raises(ZeroDivisionError), failing(publisher, "publish", PublisherError("x")):
        _ = 1 / 0
    publisher.publish("channel", {"event": "step"})
    assert len(publisher.messages) == 1


def test_faults_can_be_nested():
    publisher = MemoryPublisher()
    with failing(publisher, "publish", PublisherError("outer"), after=1):
        with failing(publisher, "publish", PublisherError("inner")), pytest.raises(PublisherError, match="inner"):
            publisher.publish("channel", {"event": "step"})
        publisher.publish("channel", {"event": "step"})
        with pytest.raises(PublisherError, match="outer"):
            publisher.publish("channel", {"event": "step"})


def test_misspelt_method_is_an_error():
    with pytest.raises(AttributeError, match="publsh"), failing(MemoryPublisher(), "publsh", PublisherError("x")):
        pass
