"""Loggers hand their messages to the standard library and configure nothing."""

import logging

from kladml.log import get_logger


def test_messages_go_to_the_stdlib_logger_of_the_same_name(caplog):
    with caplog.at_level(logging.INFO, "kladml.some.module"):
        get_logger("kladml.some.module").info("it happened", address="a/b/c@1")
    (record,) = caplog.records
    assert (record.name, record.message, record.address) == ("kladml.some.module", "it happened", "a/b/c@1")


def test_nothing_is_configured():
    get_logger("kladml.quiet").debug("not shown")
    assert logging.getLogger("kladml").handlers == []
    assert logging.getLogger("kladml").level == logging.NOTSET
