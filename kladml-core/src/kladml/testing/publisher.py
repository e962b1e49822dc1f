"""The contract of publishers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kladml.errors import CapabilityError
from kladml.testing.backend import BackendContract
from kladml.testing.comparison import difference
from kladml.testing.messages import CHANNEL, sample_messages

if TYPE_CHECKING:
    from kladml.interfaces import PublisherInterface

Received = Callable[[], "list[tuple[str, dict[str, Any]]]"]
"""Returns what a listener received so far, as (channel, message), oldest first."""

_EVENTS = sorted({message["event"] for message in sample_messages()})


class PublisherContract(BackendContract):
    """The rules for a publisher. A subclass defines the fixture `publisher`.

    Overriding the fixture `received` proves delivery as well; without it, only the sending side is tested.
    `many` may be overridden: how many messages are sent in a row.
    """

    kind: ClassVar[str] = "publisher"
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {"listen": ("listen",)}

    @pytest.fixture
    def publisher(self) -> PublisherInterface:
        """The publisher under test: a new object for each case."""
        raise NotImplementedError(self._missing("publisher"))

    @pytest.fixture
    def backend(self, publisher: PublisherInterface) -> PublisherInterface:
        """The publisher, for the rules of all kinds."""
        return publisher

    @pytest.fixture
    def received(self) -> Received | None:
        """A function that returns what arrived, or None where nobody can listen.

        It is called after `flush`; where messages travel, it waits for those that are still under way.
        """
        return None

    @pytest.fixture
    def delivered(self, received: Received | None) -> Received:
        """The function `received`, where there is one."""
        if received is None:
            pytest.skip("override the fixture 'received' to prove that messages arrive")
        return received

    @pytest.fixture
    def many(self) -> int:
        """Number of messages in a row; a run of many short steps sends that many."""
        return 1_000

    # Sending

    @pytest.mark.parametrize("event", _EVENTS)
    def test_every_documented_event_is_taken(self, publisher: PublisherInterface, event: str) -> None:
        """Each event that a run publishes is sent, also alone: a publisher may join a run that goes on."""
        for message in sample_messages():
            if message["event"] == event:
                publisher.publish(CHANNEL, message)
        publisher.flush()

    def test_unknown_event_is_taken(self, publisher: PublisherInterface) -> None:
        """An event that the publisher does not know is sent or ignored: later versions have more of them."""
        publisher.publish(CHANNEL, {"event": "contract_unknown", "time": 1.0, "text": "x"})
        publisher.flush()

    def test_nested_and_unicode_content_is_taken(self, publisher: PublisherInterface) -> None:
        """Any JSON content is sent: nested, in other scripts, with line breaks."""
        publisher.publish("kladml:default/default/with space@1", _nested())
        publisher.flush()

    def test_values_that_are_no_numbers_are_taken(self, publisher: PublisherInterface) -> None:
        """A loss that is NaN or infinite is sent: that is the moment when somebody should look."""
        for value in (math.nan, math.inf, -math.inf):
            publisher.publish(CHANNEL, {"event": "step", "time": 1.0, "epoch": 1, "step": 1, "loss": value, "lr": 0.1})
        publisher.flush()

    def test_messages_are_not_changed(self, publisher: PublisherInterface) -> None:
        """A message belongs to the caller, who gives the same one to the next publisher."""
        messages = [*sample_messages(), _nested()]
        before = copy.deepcopy(messages)
        for message in messages:
            publisher.publish(CHANNEL, message)
        publisher.flush()
        publisher.close()
        assert messages == before

    def test_many_messages_in_a_row_are_taken(self, publisher: PublisherInterface, many: int) -> None:
        """Every step of a run may send a message; none raises because there were many before it."""
        for message in _steps(many):
            publisher.publish(CHANNEL, message)
        publisher.flush()

    # Arriving: fixture `received`

    def test_messages_arrive_as_they_were_sent(self, publisher: PublisherInterface, delivered: Received) -> None:
        """A listener gets each message once, whole, on its channel, in the order of sending."""
        for channel, message in _two_runs():
            publisher.publish(channel, message)
        publisher.flush()
        got = [(channel, dict(message)) for channel, message in delivered()]
        # Between two channels the order is free.
        assert sorted(got, key=itemgetter(0)) == sorted(_two_runs(), key=itemgetter(0))

    def test_message_that_changes_later_arrives_as_it_was(
        self, publisher: PublisherInterface, delivered: Received
    ) -> None:
        """What counts is the message at the time of `publish`; the caller may use its dictionary again."""
        message: dict[str, Any] = {"event": "epoch_ended", "time": 1.0, "epoch": 1, "step": 2, "metrics": {"loss": 1}}
        before = copy.deepcopy(message)
        publisher.publish(CHANNEL, message)
        message["metrics"]["loss"] = 2
        message["epoch"] = 2
        publisher.flush()
        assert [dict(arrived) for _, arrived in delivered()] == [before]

    def test_all_of_many_messages_arrive(self, publisher: PublisherInterface, delivered: Received, many: int) -> None:
        """A reachable listener misses none of many messages in a row."""
        for message in _steps(many):
            publisher.publish(CHANNEL, message)
        publisher.flush()
        assert difference([message["step"] for _, message in delivered()], range(1, many + 1)) is None

    # Listening: capability `listen`

    def test_listener_gets_what_is_published_on_its_channel_from_then_on(self, publisher: PublisherInterface) -> None:
        """A listener misses nothing that comes after it, and hears nothing of other channels or from before."""
        if "listen" not in publisher.capabilities:
            with pytest.raises(CapabilityError):
                publisher.listen(CHANNEL)
            return
        first, *others = sample_messages()
        publisher.publish(CHANNEL, first)
        publisher.flush()
        with publisher.listen(CHANNEL) as listener:
            assert listener.next(0.01) is None
            publisher.publish("kladml:default/default/other@1", sample_messages()[0])
            for message in others:
                publisher.publish(CHANNEL, message)
            publisher.flush()
            heard = [listener.next(30.0) for _ in others]
            assert [message and message["event"] for message in heard] == [
                each["event"] for each in sample_messages()[1:]
            ]
            assert listener.next(0.01) is None
        listener.close()


def _nested() -> dict[str, Any]:
    per_class: dict[str, Any] = {"naïve 模型 🚀": [1, 2.5, None, True, {"deep": []}], "": "two\nlines"}
    return {"event": "epoch_ended", "time": 1.5, "epoch": 1, "step": 2, "metrics": {"loss": 0.1, "class": per_class}}


def _two_runs() -> list[tuple[str, dict[str, Any]]]:
    """Messages of one run, with one of another run in between."""
    messages = [(CHANNEL, message) for message in sample_messages()]
    return [*messages[:3], ("kladml:default/default/with space@1", _nested()), *messages[3:]]


def _steps(count: int) -> list[dict[str, Any]]:
    return [
        {"event": "step", "time": 1.0 + step, "epoch": 1, "step": step, "loss": 1 / step, "lr": 0.001}
        for step in range(1, count + 1)
    ]
