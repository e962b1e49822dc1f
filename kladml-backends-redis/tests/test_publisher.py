"""RedisPublisher against real Redis servers: well, dead, hung and guarded."""

from __future__ import annotations

import json
import socket
import threading

import pytest
import redis

from kladml.errors import PublisherError
from kladml.testing import PublisherContract
from kladml_backends_redis import RedisPublisher
from kladml_backends_redis.settings import PASSWORD_VARIABLE

pytestmark = pytest.mark.service

STEP = {"event": "step", "epoch": 1, "step": 10, "loss": 0.25}


class TestRedisPublisher(PublisherContract):
    @pytest.fixture
    def publisher(self, server):
        with RedisPublisher(server.url, timeout=0.9) as publisher:  # machines that run tests are busy
            yield publisher

    @pytest.fixture
    def received(self, server, subscribe):
        with subscribe(server) as subscriber:

            def drain():
                # PUBLISH hands a message to every subscriber's socket before it answers.
                found = []
                while message := subscriber.get_message(timeout=0.5):
                    found.append((message["channel"].decode(), json.loads(message["data"])))
                return found

            yield drain


def test_subscriber_of_one_channel_gets_that_channel_alone(server, subscribe):
    with subscribe(server, "kladml:a@1") as subscriber, RedisPublisher(server.url) as publisher:
        publisher.publish("kladml:b@1", {"event": "other"})
        publisher.publish("kladml:a@1", STEP)
        message = subscriber.get_message(timeout=10)
    assert (message["channel"], json.loads(message["data"])) == (b"kladml:a@1", STEP)


def test_listener_hears_only_messages_of_runs(server):
    with RedisPublisher(server.url) as publisher, publisher.listen("a") as listener:
        with redis.Redis.from_url(server.url) as client:
            client.publish("a", b"no json")
            client.publish("a", b"[1]")
        publisher.publish("a", STEP)
        assert listener.next(10) == STEP
        assert listener.next(0.01) is None


def test_listening_to_a_server_that_is_not_there_is_an_error(doomed_server):
    doomed_server.kill()
    with (
        RedisPublisher(doomed_server.url) as publisher,
        pytest.raises(PublisherError, match=r"nothing can be received"),
    ):
        publisher.listen("a")


def test_server_that_goes_away_ends_listening_with_an_error(doomed_server):
    with RedisPublisher(doomed_server.url) as publisher, publisher.listen("a") as listener:
        doomed_server.kill()
        with pytest.raises(PublisherError, match=rf"127\.0\.0\.1:{doomed_server.port}.*start it"):
            listener.next(10)


def test_message_that_is_no_json_is_refused_and_the_next_one_sent(server, subscribe):
    with subscribe(server) as subscriber, RedisPublisher(server.url) as publisher:
        with pytest.raises(PublisherError, match=r"message for 'a' cannot be written as JSON.*kladml-backends-redis"):
            publisher.publish("a", {"event": object()})
        publisher.publish("a", STEP)
        assert json.loads(subscriber.get_message(timeout=10)["data"]) == STEP


def test_server_that_is_not_there_is_an_error(doomed_server):
    doomed_server.kill()
    with RedisPublisher(doomed_server.url) as publisher:
        for call in (publisher.check, lambda: publisher.publish("a", STEP)):
            with pytest.raises(PublisherError, match=rf"127\.0\.0\.1:{doomed_server.port} cannot be used.*start it"):
                call()


def test_publishing_goes_on_when_the_server_is_back(doomed_server, subscribe):
    with RedisPublisher(doomed_server.url, retry_after=0.0) as publisher:
        publisher.publish("a", STEP)
        doomed_server.kill()
        with pytest.raises(PublisherError):
            publisher.publish("a", STEP)
        doomed_server.start()
        with subscribe(doomed_server) as subscriber:
            publisher.publish("a", {"event": "back"})
            assert json.loads(subscriber.get_message(timeout=10)["data"]) == {"event": "back"}


def test_restart_between_two_messages_goes_unnoticed(doomed_server, subscribe):
    with RedisPublisher(doomed_server.url) as publisher:
        publisher.publish("a", STEP)
        doomed_server.kill()
        doomed_server.start()
        with subscribe(doomed_server) as subscriber:
            publisher.publish("a", STEP)
            assert json.loads(subscriber.get_message(timeout=10)["data"]) == STEP


def test_after_a_failure_the_server_is_left_alone(doomed_server):
    doomed_server.kill()
    with RedisPublisher(doomed_server.url, retry_after=3600) as publisher:
        with pytest.raises(PublisherError) as first:
            publisher.publish("a", STEP)
        with socket.create_server(("127.0.0.1", doomed_server.port)) as listener:
            listener.setblocking(False)
            for _ in range(100):
                with pytest.raises(PublisherError) as later:
                    publisher.publish("a", STEP)
                assert str(later.value) == str(first.value)
            with pytest.raises(BlockingIOError):  # nobody knocked
                listener.accept()


def test_hung_server_is_asked_once_and_then_left_alone(hung_server):
    with RedisPublisher(hung_server, timeout=0.1, retry_after=3600) as publisher:
        for _ in range(1000):  # 100 s, if each of them waited
            with pytest.raises(PublisherError, match="does not answer in time"):
                publisher.publish("a", STEP)


def test_check_of_a_hung_server_fails(hung_server):
    with (
        RedisPublisher(hung_server, timeout=0.1) as publisher,
        pytest.raises(PublisherError, match="does not answer in time"),
    ):
        publisher.check()


def test_call_returns_in_time_even_if_the_name_service_hangs(server, monkeypatch):
    """No timeout of a socket covers a name service, and no private one can be given to a process."""
    answers = threading.Event()
    original = socket.getaddrinfo

    def hanging(*args, **kwargs):
        answers.wait()
        return original(*args, **kwargs)

    with RedisPublisher(server.url, timeout=0.1, retry_after=0.0) as publisher:
        monkeypatch.setattr(socket, "getaddrinfo", hanging)
        try:
            for _ in range(1000):  # only the first of them waits, as the thread is stuck
                with pytest.raises(PublisherError, match="does not answer in time"):
                    publisher.publish("a", STEP)
        finally:
            answers.set()
        publisher._stuck.result(10)
        publisher.publish("a", STEP)


def test_thread_that_the_check_left_stuck_costs_one_timeout(server, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr("kladml_backends_redis.publisher._CHECK_TIMEOUT", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers.wait())
    with RedisPublisher(server.url, timeout=0.1, retry_after=0.0) as publisher:
        try:
            with pytest.raises(PublisherError, match="does not answer in time"):
                publisher.check()
            for _ in range(1000):
                with pytest.raises(PublisherError, match="does not answer in time"):
                    publisher.publish("a", STEP)
        finally:
            answers.set()


def test_password_comes_from_the_environment(guarded_server, subscribe, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, "hunter2")
    with subscribe(guarded_server, password="hunter2") as subscriber:
        with RedisPublisher(guarded_server.url) as publisher:
            publisher.check()
            publisher.publish("a", STEP)
            assert "hunter2" not in repr(publisher)
        assert json.loads(subscriber.get_message(timeout=10)["data"]) == STEP


@pytest.mark.parametrize("password", [None, "letmein"])
def test_wrong_password_is_an_error_that_does_not_show_it(guarded_server, monkeypatch, password):
    if password:
        monkeypatch.setenv(PASSWORD_VARIABLE, password)
    with RedisPublisher(guarded_server.url) as publisher:
        for call in (publisher.check, lambda: publisher.publish("a", STEP)):
            with pytest.raises(
                PublisherError, match=f"denies access.*set the password in {PASSWORD_VARIABLE}"
            ) as caught:
                call()
            told = f"{caught.value} {caught.value.__cause__!r}"
            assert "letmein" not in told
            assert "hunter2" not in told


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@127.0.0.1:6379/0",
        "redis://me:hunter2@127.0.0.1",
        "redis://127.0.0.1/0?password=hunter2",
        "redis://:hunter2/@127.0.0.1",
        "redis://:1/hunter2@127.0.0.1",
        "redis://:hunter2#@127.0.0.1",
        "unix://me:hunter2@/run/redis.sock",
        "hunter2",
        "http://127.0.0.1/hunter2",
        "redis:///hunter2",
    ],
)
def test_bad_address_is_refused_and_not_shown(url):
    with pytest.raises(PublisherError, match=rf"publisher\.redis\.url.*{PASSWORD_VARIABLE}") as caught:
        RedisPublisher(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("timeout", [0, -1, 1, 60, float("nan")])
def test_timeout_is_below_a_second(timeout):
    with pytest.raises(PublisherError, match=r"publisher\.redis\.timeout"):
        RedisPublisher(timeout=timeout)


def test_closed_publisher_says_so(server):
    publisher = RedisPublisher(server.url)
    publisher.publish("a", STEP)
    publisher.close()
    publisher.close()
    with pytest.raises(PublisherError, match="is closed"):
        publisher.publish("a", STEP)


def test_unix_socket_is_an_address(server, subscribe):
    with subscribe(server) as subscriber, RedisPublisher(f"unix://{server.socket}") as publisher:
        publisher.publish("a", STEP)
        assert json.loads(subscriber.get_message(timeout=10)["data"]) == STEP
