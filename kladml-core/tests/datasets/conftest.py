"""Fixtures of the tests of data sets: a store, and files in every format."""

from __future__ import annotations

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


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return generator.normal(size=(100, 4)), generator.integers(0, 3, 100)
