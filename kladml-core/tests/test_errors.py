import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kladml.errors
from kladml.errors import AddressError, KladMLError
from kladml.interfaces import ExperimentAddress

ERRORS = [error for error in vars(kladml.errors).values() if isinstance(error, type) and issubclass(error, KladMLError)]


@pytest.mark.parametrize(
    ("owner", "next_step", "message"),
    [
        (None, None, "there is no bucket 'ml'"),
        ("kladml-backends-aws 1.0", None, "there is no bucket 'ml' (kladml-backends-aws 1.0)"),
        (None, "make it first", "there is no bucket 'ml'; make it first"),
        (
            "kladml-backends-aws 1.0",
            "make it first",
            "there is no bucket 'ml' (kladml-backends-aws 1.0); make it first",
        ),
    ],
)
def test_message_is_one_sentence_with_problem_owner_and_next_step(owner, next_step, message):
    error = KladMLError("there is no bucket 'ml'", owner=owner, next_step=next_step)
    assert str(error) == message
    assert (error.problem, error.owner, error.next_step) == ("there is no bucket 'ml'", owner, next_step)


@pytest.mark.parametrize("error_class", ERRORS)
def test_every_error_is_documented_and_has_an_exit_code(error_class):
    assert error_class.__doc__
    assert 1 <= error_class.exit_code < 64
    assert isinstance(error_class("x"), KladMLError)


def test_exit_codes_tell_the_families_of_errors_apart():
    families = {error.__name__: error.exit_code for error in KladMLError.__subclasses__()}
    codes = {**families, "KladMLError": KladMLError.exit_code}
    # A workspace is part of the configuration; data and models are both what the user brings.
    assert codes.pop("WorkspaceError") == codes["ConfigError"]
    assert codes.pop("ModelError") == codes["DataError"]
    assert sorted(codes.values()) == [1, 3, 4, 5, 6, 7, 8, 9]


@given(
    error_class=st.sampled_from(ERRORS),
    problem=st.text(),
    owner=st.none() | st.text(),
    next_step=st.none() | st.text(),
)
def test_copies_keep_class_message_and_parts(error_class, problem, owner, next_step):
    error = error_class(problem, owner=owner, next_step=next_step)
    error.add_note("said by a test")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        assert type(twin) is error_class
        assert str(twin) == str(error)
        assert (twin.problem, twin.owner, twin.next_step) == (problem, owner, next_step)
        assert twin.__notes__ == ["said by a test"]


def test_error_of_another_process_keeps_class_and_message():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        error = pool.submit(ExperimentAddress.parse, "a/b").exception()
    assert type(error) is AddressError
    assert str(error) == "'a/b' is no experiment address; write project/family/experiment, or just experiment"
    assert error.next_step == "write project/family/experiment, or just experiment"
