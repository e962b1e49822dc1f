"""How catalogs word what they refuse."""

import pytest

from kladml.errors import CatalogError
from kladml.interfaces import EntryAddress, Removal, RunAddress
from kladml.interfaces.refusals import LONGEST_DESCRIPTION, checked_description, contents, not_empty, unknown_entry


def addresses(*texts):
    return [EntryAddress.parse(text) for text in texts]


KNOWN = addresses("CustomerChurn", "CustomerChurn/DeepLearning", "default/default/digits", "vision/cnn/faces")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("CustomerChrun", "'CustomerChurn'"),
        ("customerchurn", "'CustomerChurn'"),
        ("CustomerChurn/DepLearning", "'CustomerChurn/DeepLearning'"),
        ("default/default/faces", "'vision/cnn/faces'"),
        ("vision/cnn/digits", "'default/default/digits'"),
    ],
)
def test_unknown_entry_names_what_was_meant_and_where_all_are(text, nearest):
    (address,) = addresses(text)
    error = unknown_entry(address, KNOWN, "me 1.0")
    assert str(error).startswith(f"there is no {address.level} '{text}' (me 1.0); did you mean ")
    assert nearest in str(error)
    assert f"'kladml {address.level} list' shows those there are" in str(error)


def test_unknown_entry_without_a_like_one_names_the_command_alone():
    (address,) = addresses("zzz")
    assert str(unknown_entry(address, KNOWN)) == (
        "there is no project 'zzz'; 'kladml project list' shows those there are"
    )


def test_nearest_entries_are_few():
    known = addresses(*(f"digits{number}" for number in range(9)))
    assert str(unknown_entry(EntryAddress(("digits",)), known)).count("'digits") == 4


@pytest.mark.parametrize(
    ("below", "runs", "text"),
    [
        ((), (), "nothing"),
        ((), ("a/b/c@1",), "1 run"),
        (("a/b", "a/b/c"), (), "1 family and 1 experiment"),
        (("a/b", "a/b/c", "a/d", "a/d/e"), ("a/b/c@1", "a/d/e@1"), "2 families, 2 experiments and 2 runs"),
    ],
)
def test_contents_are_counted(below, runs, text):
    removal = Removal(EntryAddress(("a",)), tuple(addresses(*below)), tuple(map(RunAddress.parse, runs)))
    assert contents(removal) == text
    assert removal.is_empty == (text == "nothing")
    assert f"project 'a' is not empty: it holds {text}" in str(not_empty(removal))


def test_description_may_have_lines_and_any_letters():
    text = "Who leaves?\n\tnaïve 模型 👩‍🔬"
    assert checked_description(text) == text
    assert checked_description("x" * LONGEST_DESCRIPTION)


@pytest.mark.parametrize("text", ["\x1b]0;title\a", "\0", "\x85", "\ud800", "x" * (LONGEST_DESCRIPTION + 1)])
def test_description_that_harms_is_refused(text):
    with pytest.raises(CatalogError, match=r"^the description ") as caught:
        checked_description(text, "me 1.0")
    assert "\x1b" not in str(caught.value)
    assert "(me 1.0)" in str(caught.value)
