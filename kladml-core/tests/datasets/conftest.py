"""Fixtures of the tests of data sets: a store, and files in every format."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest

from kladml.datasets import DatasetStore


@pytest.fixture
def store(tmp_path):
    return DatasetStore(tmp_path / "workspace" / ".kladml")


@pytest.fixture
def csv(tmp_path):
    """Write a CSV file of lines, and return its path."""

    def write(*lines, name="data.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def tree(tmp_path):
    """Write files of a folder, given by name, and return the folder."""

    def write(files, name="tree"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return write


class Shown:
    """Notes the progress that is shown: of each bar its label with what was to be done, and what was."""

    def __init__(self):
        self.seen = []

    @contextmanager
    def __call__(self, label, total):
        told = []
        self.seen.append(((label), (total, told)))
        yield told.append

    def of(self, label):
        """Return what was to be done and what was, in the one bar of a label."""
        ((total, told),) = [found for name, found in self.seen if name == label]
        return total, sum(told)


@pytest.fixture
def shown():
    return Shown()


@pytest.fixture
def picture():
    """Return the bytes of an image of one colour."""
    image = pytest.importorskip("PIL.Image")

    def drawn(colour, kind="PNG", size=(8, 6)):
        stream = io.BytesIO()
        image.new("L", size, colour).save(stream, kind)
        return stream.getvalue()

    return drawn


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return generator.normal(size=(100, 4)), generator.integers(0, 3, 100)
