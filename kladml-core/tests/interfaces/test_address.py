import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.errors import AddressError
from kladml.interfaces import EntryAddress, ExperimentAddress, RunAddress

FIRST = string.ascii_letters + string.digits
NAMES = st.text(FIRST + "._- ", min_size=1, max_size=100).filter(lambda name: name[0] in FIRST and name[-1] not in ". ")
LABELS = st.text(FIRST + "._-", min_size=1, max_size=100).filter(lambda label: label[0] in FIRST and label[-1] != ".")
EXPERIMENTS = st.builds(ExperimentAddress, NAMES, NAMES, NAMES)


@given(experiment=EXPERIMENTS)
def test_experiment_address_is_read_as_it_was_written(experiment):
    assert ExperimentAddress.parse(str(experiment)) == experiment


@given(experiment=EXPERIMENTS, label=LABELS)
def test_run_address_is_read_as_it_was_written(experiment, label):
    address = RunAddress(experiment, label)
    assert RunAddress.parse(str(address)) == address


@given(text=st.text() | st.text(FIRST + "./@ -", max_size=20))
def test_any_text_is_an_address_or_an_address_error(text):
    try:
        address = RunAddress.parse(text)
    except AddressError:
        return
    assert str(address) == text or str(address) == f"default/default/{text}"
    # Every part of the path is the name of an ordinary folder.
    parts = address.path.split("/")
    assert len(parts) == 4
    assert not {"", ".", ".."} & set(parts)
    assert not any(part.endswith((".", " ")) or "\\" in part for part in parts)


def test_bare_experiment_belongs_to_the_default_project_and_family():
    assert ExperimentAddress.parse("digits") == ExperimentAddress("default", "default", "digits")
    assert RunAddress.parse("digits@3") == RunAddress(ExperimentAddress("default", "default", "digits"), "3")


def test_addresses_read_as_people_write_them():
    address = RunAddress(ExperimentAddress("vision", "small cnn", "digits-v2"), "3")
    assert str(address) == "vision/small cnn/digits-v2@3"
    assert address.path == "vision/small cnn/digits-v2/3"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' cannot be the name of an experiment"),
        ("a/b", "'a/b' is no experiment address"),
        ("a/b/c/d", "'a/b/c/d' is no experiment address"),
        ("a//c", "'' cannot be the name of a family"),
        ("../b/c", "'..' cannot be the name of a project"),
        ("/etc/passwd", "'' cannot be the name of a project"),
        ("a/b/c@1", "'c@1' cannot be the name of an experiment"),
        (".hidden", "'.hidden' cannot be"),
        ("ends.", "'ends.' cannot be"),
        ("ends ", "'ends ' cannot be"),
        ("tab\t", "'tab\\t' cannot be"),
        ("new\nline", "'new\\nline' cannot be"),
        ("ümlaut", "'ümlaut' cannot be"),
        ("x" * 101, "cannot be the name of an experiment"),
    ],
)
def test_malformed_experiment_address_says_what_is_wrong(text, problem):
    with pytest.raises(AddressError) as caught:
        ExperimentAddress.parse(text)
    assert problem in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "@", "a@", "@1", "a@b@", "a@1/2", "a@..", "a@ 1", "a@1.", "a@-1", "a@\n"]
)
def test_malformed_run_address_is_an_address_error(text):
    with pytest.raises(AddressError) as caught:
        RunAddress.parse(text)
    assert caught.value.next_step


@pytest.mark.parametrize("label", ["", "..", "../..", "a/b", ".", "1.", "a b", "x" * 101])
def test_label_cannot_lead_out_of_the_folder_of_the_experiment(label):
    with pytest.raises(AddressError, match="cannot be the number of a run"):
        RunAddress(ExperimentAddress.parse("digits"), label)


@pytest.mark.parametrize("label", ["1", "12", "0f3c9b7a", "run_0001", "2024-11", "v1.2"])
def test_label_may_be_the_start_of_a_trackers_identifier(label):
    assert RunAddress.parse(f"digits@{label}").label == label


def test_experiments_sort_by_project_family_and_name():
    addresses = [ExperimentAddress.parse(text) for text in ("b/a/a", "a/b/a", "a/a/b")]
    assert [str(address) for address in sorted(addresses)] == ["a/a/b", "a/b/a", "b/a/a"]


def test_addresses_are_keys():
    assert len({RunAddress.parse("digits@3"), RunAddress.parse("default/default/digits@3")}) == 1


# Projects, families and experiments


@pytest.mark.parametrize(
    ("text", "level"), [("churn", "project"), ("churn/deep", "family"), ("churn/deep/net v1.2", "experiment")]
)
def test_entry_address_reads_and_writes_itself(text, level):
    address = EntryAddress.parse(text)
    assert (str(address), address.level) == (text, level)
    assert address.lineage[-1] == address
    assert [each.level for each in address.lineage] == ["project", "family", "experiment"][: len(address.names)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "a/b/c/d",
        "a@1",
        "..",
        "a/../b",
        "a\n",
        "a\x1b[31m",
        "a\0",
        "-a",
        "a ",
        "a" * 101,
        "é",
    ],
)
def test_entry_address_that_cannot_be_is_refused(text):
    with pytest.raises(AddressError):
        EntryAddress.parse(text)


def test_entry_address_needs_a_name():
    with pytest.raises(AddressError, match="write Project, Project/Family or Project/Family/Experiment"):
        EntryAddress(())


def test_experiment_has_an_address_in_the_hierarchy():
    experiment = ExperimentAddress.parse("churn/deep/net")
    assert EntryAddress.of(experiment) == EntryAddress.parse("churn/deep/net")
    assert [str(each) for each in experiment.lineage] == ["churn", "churn/deep", "churn/deep/net"]


def test_entry_is_below_what_it_stands_in_and_nothing_else():
    family = EntryAddress.parse("churn/deep")
    assert EntryAddress.parse("churn/deep/net").is_below(family)
    for other in ("churn", "churn/deep", "churn/deeper/net", "other/deep/net"):
        assert not EntryAddress.parse(other).is_below(family)


def test_entry_addresses_of_all_levels_sort():
    texts = ["a", "a/b", "a/b/c", "a b", "b"]
    assert sorted(map(EntryAddress.parse, reversed(texts))) == [*map(EntryAddress.parse, texts)]
