from __future__ import annotations

import json
from traceback import FrameSummary, StackSummary

import pytest

from kladml.errors import ConfigError
from kladml.interfaces import ExperimentAddress
from kladml_cli.user_traceback import user_stack, user_traceback


def raised(call):
    try:
        call()
    except BaseException as error:  # noqa: BLE001
        return error
    pytest.fail("nothing was raised")


def test_frames_of_kladml_are_left_out():
    def users_code():
        raise ValueError("theirs")

    def as_kladml_would_call_it():
        source = compile("def call(f):\n    f()\n", ExperimentAddress.parse.__code__.co_filename, "exec")
        names = {}
        exec(source, names)  # noqa: S102
        names["call"](users_code)

    text = user_traceback(raised(as_kladml_would_call_it))
    assert "address.py" not in text
    assert "in users_code" in text
    assert text.endswith("ValueError: theirs\n")


def test_frames_of_libraries_before_the_users_are_left_out_and_later_ones_kept():
    def users_code(pairs):
        return json.loads("{", object_pairs_hook=pairs)

    error = raised(lambda: users_code(dict))
    text = user_traceback(error)
    assert text.index("in users_code") < text.index("decoder.py")


def test_error_inside_kladml_alone_keeps_its_frames():
    error = raised(lambda: ExperimentAddress.parse("a/b"))
    error.__traceback__ = error.__traceback__.tb_next.tb_next  # without the frames of this test
    assert "address.py" in user_traceback(error)


def test_causes_are_shown_too():
    def users_code():
        try:
            ExperimentAddress.parse("a/b")
        except ConfigError:
            raise
        except Exception as error:
            raise ValueError("theirs") from error

    text = user_traceback(raised(users_code))
    assert "AddressError: 'a/b' is no experiment address" in text
    assert "direct cause" in text
    assert "address.py" not in text


def test_groups_are_trimmed_inside():
    def users_code():
        raise ExceptionGroup("both", [raised(lambda: ExperimentAddress.parse("a/b")), ValueError("x")])

    text = user_traceback(raised(users_code))
    assert "ValueError: x" in text
    assert "address.py" not in text


def test_interrupt_shows_the_users_frames_alone():
    def interrupted_library(_):
        raise KeyboardInterrupt

    def users_code():
        return json.loads("{}", object_pairs_hook=interrupted_library)

    text = user_traceback(raised(users_code))
    assert "in users_code" in text
    assert "decoder.py" not in text
    assert text.endswith("\nKeyboardInterrupt\n")


def test_interrupt_outside_of_the_users_code_shows_nothing():
    library = compile("raise KeyboardInterrupt", json.decoder.__file__, "exec")
    error = raised(lambda: exec(library))  # noqa: S102
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    assert user_traceback(error.with_traceback(last)) == ""


def test_a_stack_is_trimmed_as_a_traceback_is():
    kladml, library, users = ExperimentAddress.parse.__code__.co_filename, json.decoder.__file__, "/home/me/model.py"
    frames = [(kladml, "run"), (library, "start"), (users, "step"), (library, "decode"), (kladml, "beat")]
    stack = StackSummary.from_list([FrameSummary(file, 1, name, line="x") for file, name in frames])
    assert user_stack(stack).splitlines()[::2] == [
        f'  File "{users}", line 1, in step',
        f'  File "{library}", line 1, in decode',
    ]
    alone = StackSummary.from_list(stack[:1])
    assert user_stack(alone).splitlines()[0] == f'  File "{kladml}", line 1, in run'
