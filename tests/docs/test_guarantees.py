"""The pages on the trainer and on tracking name, for each guarantee, tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("trainer.md", "tracking.md")]

_NAMED = re.compile(r"`([\w/.-]+\.py)::(\w+)`")


@cache
def functions_in(path):
    """Return the names of the tests in a file, also of those in classes."""
    below = ROOT / "kladml-core" / "tests" / path
    tree = ast.parse((below if below.exists() else ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows():
    """Return the rows of the tables of guarantees."""
    parts = [text.partition("\n## Guarantees\n")[2].partition("\n## ")[0] for text in TEXTS]
    lines = [line for part in parts for line in part.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith(("| Guarantee |", "| --- |"))]


def test_there_are_guarantees():
    assert len(rows()) > 50


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip())
def test_a_guarantee_names_the_tests_that_hold_it(row):
    _, guarantee, tests, _ = row.split("|")
    assert guarantee.strip()
    assert _NAMED.findall(tests), f"{guarantee.strip()!r} names no test"


@pytest.mark.parametrize("test", sorted({test for text in TEXTS for test in _NAMED.findall(text)}), ids="::".join)
def test_every_test_that_the_page_names_is_there(test):
    path, name = test
    assert name in functions_in(path)
