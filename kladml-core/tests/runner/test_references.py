"""From text to an object."""

import os
import sys

import pytest

from kladml.errors import DataError, ModelReferenceError
from kladml.runner.references import load_reference


def load(reference, *folders):
    return load_reference(reference, folders, key="model.ref")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    path = tmp_path / "model.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom neighbour import WIDTH\n@dataclass\n"
        "class Net:\n    width: int = WIDTH\n"
        "def load(): ...\nclass _Hidden: ...\n"
    )
    return path


def test_a_file_is_loaded_with_its_neighbours(file, tmp_path):
    assert load("model.py:Net", tmp_path)().width == 7
    assert load(f"{file}:Net", tmp_path / "elsewhere") is load("model.py:Net", tmp_path)


def test_a_file_that_was_changed_within_a_second_is_not_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "rates.py"
    for rate in (1, 2):
        file.write_text(f"class Net: rate = {rate}\n")
        os.utime(file, (1e9, 1e9))
        found = load("rates.py:Net", tmp_path)
        assert found.rate == rate
        del sys.modules[found.__module__]


def test_a_module_is_imported():
    assert load("collections:OrderedDict").__name__ == "OrderedDict"


def test_folders_are_searched_in_order(file, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    (first / "model.py").write_text("class Net: first = True\n")
    assert load("model.py:Net", first, tmp_path).first
    assert load("model.py:Net", tmp_path / "absent", tmp_path)().width == 7


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("model.py", "model.ref 'model.py' is no reference; write package.module:Name"),
        ("model.py:", "is no reference"),
        ("model.py:a.b", "is no reference"),
        ("model.py:Nat", r"defines no Nat \(it defines Net, load\); did you mean model.py:Net\?"),
        ("absent.py:Net", "names a file that does not exist; it was looked for in"),
        ("no_such_package.models:Net", "does not import: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_what_cannot_be_found_is_said_with_what_is_there(file, tmp_path, reference, said):
    with pytest.raises(ModelReferenceError, match=said):
        load(reference, tmp_path)


@pytest.mark.parametrize(("source", "said"), [("1/0", "ZeroDivisionError"), ("def", "SyntaxError")])
def test_a_file_that_does_not_import_is_named_with_its_line(tmp_path, source, said):
    (tmp_path / "broken.py").write_text(f"\n\n{source}\n")
    with pytest.raises(ModelReferenceError, match=rf"does not import: {said}.*broken\.py:3\)") as caught:
        load("broken.py:Net", tmp_path)
    assert caught.value.__cause__ is not None
    with pytest.raises(ModelReferenceError):  # a second attempt does not find a half-made module
        load("broken.py:Net", tmp_path)


def test_the_error_class_is_the_callers(tmp_path):
    with pytest.raises(DataError):
        load_reference("x", [tmp_path], key="data.train", error_class=DataError)
