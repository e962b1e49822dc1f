import pytest

from kladml.interfaces import PublisherInterface
from kladml.testing import PublisherContract
from kladml.testing.fakes import MemoryPublisher


class MinimalPublisher(PublisherInterface):
    """The one abstract method and nothing more."""

    def publish(self, channel, message):
        self.last = channel, message


class TestMemoryPublisher(PublisherContract):
    @pytest.fixture
    def publisher(self):
        return MemoryPublisher()

    @pytest.fixture
    def received(self, publisher):
        return lambda: publisher.messages


class TestMinimalPublisher(PublisherContract):
    @pytest.fixture
    def publisher(self):
        return MinimalPublisher()


CONTRACT = """
import json

import pytest

from kladml.errors import PublisherError
from kladml.testing import PublisherContract
from kladml.testing.fakes import MemoryPublisher
{broken}

class TestBroken(PublisherContract):
    @pytest.fixture
    def publisher(self):
        return Broken()

    @pytest.fixture
    def received(self, publisher):
        return lambda: publisher.messages
"""


def broken(source):
    return CONTRACT.format(broken=source)


def test_contract_itself_fails_nothing(failing_cases):
    assert failing_cases(broken("class Broken(MemoryPublisher): pass")) == set()


def test_publisher_that_changes_messages(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        message["channel"] = channel
        super().publish(channel, message)
"""
    assert failing_cases(broken(source)) == {
        "test_messages_are_not_changed",
        "test_messages_arrive_as_they_were_sent",
        "test_message_that_changes_later_arrives_as_it_was",
    }


def test_publisher_that_empties_messages_while_it_flushes(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def __init__(self):
        super().__init__()
        self.held = []

    def publish(self, channel, message):
        super().publish(channel, message)
        self.held.append(message)

    def flush(self):
        for message in self.held:
            message.clear()
"""
    assert failing_cases(broken(source)) == {"test_messages_are_not_changed"}


def test_publisher_that_keeps_the_callers_message(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        self.messages.append((channel, message))
"""
    assert failing_cases(broken(source)) == {"test_message_that_changes_later_arrives_as_it_was"}


def test_publisher_that_knows_only_today_s_events(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        known = {"run_started", "step", "validated", "epoch_ended", "checkpoint_saved", "run_ended"}
        {event: 0 for event in known}[message["event"]]
        super().publish(channel, message)
"""
    assert failing_cases(CONTRACT.replace("{broken}", source)) == {"test_unknown_event_is_taken"}


def test_publisher_that_must_hear_the_start_first(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        if message["event"] == "run_started":
            self.total = message["max_epochs"]
        elif message["event"] == "epoch_ended":
            self.done = message["epoch"] / self.total
        super().publish(channel, message)
"""
    assert failing_cases(broken(source)) == {
        "test_every_documented_event_is_taken",
        "test_nested_and_unicode_content_is_taken",
        "test_message_that_changes_later_arrives_as_it_was",
    }


def test_publisher_that_fills_up(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        if len(self.messages) >= 500:
            raise PublisherError("the buffer is full")
        super().publish(channel, message)
"""
    assert failing_cases(broken(source)) == {
        "test_many_messages_in_a_row_are_taken",
        "test_all_of_many_messages_arrive",
    }


def test_publisher_that_drops_silently(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        super().publish(channel, message)
        del self.messages[:-500]
"""
    assert failing_cases(broken(source)) == {"test_all_of_many_messages_arrive"}


def test_publisher_that_sends_strict_json(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        json.dumps(message, allow_nan=False)
        super().publish(channel, message)
"""
    assert failing_cases(broken(source)) == {"test_values_that_are_no_numbers_are_taken"}


def test_publisher_that_sends_latin_1(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        json.dumps(message, ensure_ascii=False).encode("latin-1")
        super().publish(channel, message)
"""
    assert failing_cases(broken(source)) == {
        "test_nested_and_unicode_content_is_taken",
        "test_messages_are_not_changed",
        "test_messages_arrive_as_they_were_sent",
    }


def test_publisher_whose_listeners_hear_of_all_runs(failing_cases):
    source = """
class Broken(MemoryPublisher):
    def publish(self, channel, message):
        super().publish(channel, message)
        if channel.endswith("other@1"):
            self.messages.append(("kladml:default/default/digits@3", message))
"""
    assert "test_listener_gets_what_is_published_on_its_channel_from_then_on" in failing_cases(broken(source))
