import json
import re

from kladml.interfaces import PublisherInterface, RunAddress
from kladml.testing.messages import CHANNEL, sample_messages


def documented_fields():
    """The table of events in the publisher interface's docstring, as {event: fields}."""
    rows = re.findall(r"^ *\| `(\w+)` \| (.+) \|$", PublisherInterface.__doc__, flags=re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def test_samples_have_exactly_the_documented_events_and_fields():
    documented = documented_fields()
    assert len(documented) == 6
    for message in sample_messages():
        assert message.keys() - {"event", "time"} == documented[message["event"]]
    assert {message["event"] for message in sample_messages()} == documented.keys()


def test_samples_are_json_and_in_the_order_of_time():
    messages = sample_messages()
    assert json.loads(json.dumps(messages)) == messages
    assert messages == sorted(messages, key=lambda message: message["time"])


def test_samples_are_new_at_each_call():
    first = sample_messages()
    for message in first:
        for value in message.values():
            if isinstance(value, dict | list):
                value.clear()
        message.clear()
    assert all(message["event"] for message in sample_messages())
    assert sample_messages()[-1]["metrics"]


def test_channel_names_a_run():
    prefix, _, address = CHANNEL.partition(":")
    assert prefix == "kladml"
    assert str(RunAddress.parse(address)) == address
