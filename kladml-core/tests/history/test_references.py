"""Short addresses of runs."""

from __future__ import annotations

import pytest

from kladml.errors import AddressError
from kladml.history.best import Criterion
from kladml.history.references import References
from kladml.interfaces import ExperimentAddress
from kladml.testing.fakes import MemoryCatalog

DIGITS = ExperimentAddress("default", "default", "digits")


@pytest.fixture
def catalog():
    return MemoryCatalog()


@pytest.fixture
def add(catalog):
    def add_run(experiment, **metrics):
        address = catalog.add_run(ExperimentAddress.parse(experiment), f"id{len(catalog.runs)}", {})
        catalog.end_run(address, "FINISHED", metrics)
        return str(address)

    return add_run


@pytest.fixture
def find(catalog):
    def find_run(text, experiment=None, criterion=None):
        references = References(catalog, experiment, criterion and (lambda *_: criterion))
        return str(references.find(text).address)

    return find_run


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("@1", 1),
        ("@3", 3),
        ("@-1", 3),
        ("@-3", 1),
        ("digits@2", 2),
        ("digits@-2", 2),
        ("default/digits@2", 2),
        ("default/default/digits@2", 2),
        ("default/default/digits@-1", 3),
    ],
)
def test_addresses_with_numbers(add, find, text, label):
    for _ in range(3):
        add("digits")
    assert find(text) == f"default/default/digits@{label}"


@pytest.mark.parametrize("label", ["5" * 5000, "-" + "5" * 5000, "5" * 101, "x" * 5000])
def test_address_of_any_length_is_an_ordinary_error(add, find, label):
    add("digits")
    for text in (f"@{label}", f"digits@{label}"):
        with pytest.raises(
            AddressError, match=r"…' is no address of a run: what follows the '@' is too long"
        ) as caught:
            find(text)
        assert len(str(caught.value)) < 300
    with pytest.raises(AddressError, match="there is no run"):
        find("@" + "5" * 100)


def test_bare_number_is_of_the_only_experiment(add, find):
    add("vision/cnn/faces")
    assert find("@-1") == "vision/cnn/faces@1"


def test_bare_number_is_of_the_only_experiment_with_runs(add, find, catalog):
    add("vision/cnn/faces")
    catalog.entries |= {address: ("", None) for address in DIGITS.lineage if address not in catalog.entries}
    assert find("@1") == "vision/cnn/faces@1"


def test_bare_number_is_of_the_configured_experiment(add, find):
    add("vision/cnn/faces")
    add("digits")
    assert find("@1", experiment=DIGITS) == "default/default/digits@1"


def test_bare_number_that_could_be_of_several_names_them(add, find):
    add("vision/cnn/faces")
    add("digits")
    with pytest.raises(AddressError, match="there are 2: it could be") as caught:
        find("@1")
    assert "default/default/digits@1" in str(caught.value)
    assert "vision/cnn/faces@1" in str(caught.value)


def test_name_alone_is_found_wherever_it_stands(add, find):
    add("vision/cnn/faces")
    assert find("faces@1") == "vision/cnn/faces@1"
    assert find("cnn/faces@1") == "vision/cnn/faces@1"


def test_default_project_comes_first(add, find):
    add("vision/cnn/digits")
    add("digits")
    assert find("digits@1") == "default/default/digits@1"


def test_name_that_several_experiments_have_names_them(add, find):
    add("vision/cnn/faces")
    add("vision/mlp/faces")
    with pytest.raises(AddressError, match="'faces' could be vision/cnn/faces or vision/mlp/faces"):
        find("faces@1")


@pytest.mark.parametrize("text", ["digit@1", "Digits@1", "default/default/digist@1", "default/defualt/digits@1"])
def test_unknown_experiment_names_the_nearest(add, find, text):
    add("digits")
    with pytest.raises(AddressError, match="did you mean default/default/digits"):
        find(text)


def test_unknown_number_names_the_nearest(add, find):
    for _ in range(9):
        add("digits")
    with pytest.raises(AddressError, match=r"the nearest are .*digits@7, .*digits@8, .*digits@9; "):
        find("@12")


def test_rank_beyond_the_first_says_how_many_there_are(add, find):
    add("digits")
    for text in ("@-2", "@0"):
        with pytest.raises(AddressError, match="the experiment has 1 run; @-1 is the newest"):
            find(text)


@pytest.mark.parametrize("text", ["", "digits", "@", "digits@", "a/b/c/d@1", "di\x1bgits@1", "@../x", "@ 3"])
def test_malformed_addresses_are_refused(add, find, text):
    add("digits")
    with pytest.raises(AddressError):
        find(text)


def test_no_runs_at_all(find):
    with pytest.raises(AddressError, match="'kladml train CONFIG' makes one"):
        find("@1")


@pytest.mark.parametrize(
    ("criterion", "label"),
    [
        (Criterion("val_acc"), 2),
        (Criterion("val_acc", "min"), 1),
        (Criterion("val_loss"), 3),
        (Criterion(), 3),
        (Criterion("score2", "max"), 1),
    ],
)
def test_best_run(add, find, criterion, label):
    add("digits", val_acc=0.5, val_loss=0.75, score2=2.0)
    add("digits", val_acc=0.75, val_loss=0.5)
    add("digits", val_acc=0.75, val_loss=0.25)
    add("digits", val_acc=float("nan"), val_loss=float("nan"))
    add("digits")
    assert find("@best", criterion=criterion) == f"default/default/digits@{label}"


@pytest.mark.parametrize(
    ("criterion", "problem"),
    [
        (Criterion("f1"), "no run of .* has the metric 'f1'.*choose with --metric one of: score2"),
        (Criterion(), "has val_loss or loss, and no metric is monitored"),
        (Criterion("score2"), "does not tell whether less or more of it is better; say --mode"),
    ],
)
def test_best_run_that_cannot_be_told(add, find, criterion, problem):
    add("digits", score2=2.0)
    with pytest.raises(AddressError, match=problem):
        find("@best", criterion=criterion)
