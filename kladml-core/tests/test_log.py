"""Loggers hand their messages to the standard library and configure nothing."""

import logging
import os
import subprocess
import sys
import threading
from contextvars import copy_context

import structlog

from kladml.log import add_run, bind_to_log, get_logger, log_of_run

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_messages_go_to_the_stdlib_logger_of_the_same_name(caplog):
    with caplog.at_level(logging.INFO, "kladml.some.module"):
        get_logger("kladml.some.module").info("it happened", address="a/b/c@1")
    (record,) = caplog.records
    assert (record.name, record.message, record.address) == ("kladml.some.module", "it happened", "a/b/c@1")


def test_nothing_is_configured():
    get_logger("kladml.quiet").debug("not shown")
    assert logging.getLogger("kladml").handlers == []
    assert logging.getLogger("kladml").level == logging.NOTSET


# Of which run a message is


def said(caplog):
    return [(record.getMessage(), getattr(record, "run", None)) for record in caplog.records]


def test_messages_of_a_run_say_of_which_also_where_only_basic_config_was_called():
    program = """\
import logging
from kladml.log import bind_to_log, get_logger, log_of_run
logging.basicConfig(format="%(levelname)s %(run)s %(rank)s %(message)s")
with log_of_run():
    bind_to_log(run="a/b/c@1", rank=3)
    get_logger("kladml.some.module").warning("it happened")
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stderr == "WARNING a/b/c@1 3 it happened\n"


def test_what_a_message_says_itself_stays(caplog):
    with log_of_run():
        bind_to_log(run="a/b/c@1")
        get_logger("kladml.test").warning("of another", run="a/b/c@2")
    assert said(caplog) == [("of another", "a/b/c@2")]


def test_nothing_is_bound_outside_of_a_run(caplog):
    bind_to_log(run="a/b/c@1")
    get_logger("kladml.test").warning("before")
    with log_of_run():
        bind_to_log(run="a/b/c@2")
    get_logger("kladml.test").warning("after")
    assert said(caplog) == [("before", None), ("after", None)]


def test_a_run_inside_a_run_has_an_address_of_its_own(caplog):
    log = get_logger("kladml.test")
    with log_of_run():
        bind_to_log(run="outer@1")
        with log_of_run():
            log.warning("not known yet")
            bind_to_log(run="inner@1")
            log.warning("inside")
        log.warning("outside")
    assert said(caplog) == [("not known yet", None), ("inside", "inner@1"), ("outside", "outer@1")]


def test_runs_in_threads_do_not_mix(caplog):
    both = threading.Barrier(2)

    def run(address):
        with log_of_run():
            bind_to_log(run=address)
            both.wait(10)
            get_logger("kladml.test").warning(address)
            both.wait(10)

    threads = [threading.Thread(target=run, args=(f"a/b/c@{number}",)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(said(caplog)) == [("a/b/c@1", "a/b/c@1"), ("a/b/c@2", "a/b/c@2")]


def test_a_thread_that_began_before_the_address_was_known_has_it(caplog):
    known = threading.Event()

    def work():
        known.wait(10)
        get_logger("kladml.test").warning("from a thread")

    with log_of_run():
        thread = threading.Thread(target=copy_context().run, args=(work,))
        thread.start()
        bind_to_log(run="a/b/c@1")
        known.set()
        thread.join(10)
    assert said(caplog) == [("from a thread", "a/b/c@1")]


def test_a_structlog_of_ones_own_can_say_it_too():
    output = structlog.testing.CapturingLogger()
    logger = structlog.wrap_logger(output, processors=[add_run])
    with log_of_run():
        bind_to_log(run="a/b/c@1")
        logger.info("mine")
    assert output.calls[0].kwargs == {"event": "mine", "run": "a/b/c@1"}
