from kladml.interfaces import PublisherInterface


class MinimalPublisher(PublisherInterface):
    def __init__(self):
        self.messages = []

    def publish(self, channel, message):
        self.messages.append((channel, message))


def test_interface_has_exactly_these_abstract_methods():
    assert PublisherInterface.__abstractmethods__ == {"publish"}


def test_publisher_has_nothing_to_flush():
    with MinimalPublisher() as publisher:
        publisher.publish("channel", {"event": "step"})
        publisher.flush()
    assert publisher.messages == [("channel", {"event": "step"})]
