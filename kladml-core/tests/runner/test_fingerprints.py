"""Fingerprints of data, and what stands in their place."""

import numpy as np
import pytest

from kladml.datasets import FileEntry
from kladml.datasets.hashing import fingerprint as fingerprint_of_files
from kladml.runner.data import fingerprint as fingerprint_of_arrays
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT, is_fingerprint


def test_both_kinds_are_fingerprints():
    assert is_fingerprint(fingerprint_of_arrays(np.zeros(3)))
    assert is_fingerprint(fingerprint_of_files([FileEntry("a.csv", "0f" * 32, 3)]))


@pytest.mark.parametrize("text", [NO_FINGERPRINT, NO_DATA, KEPT_BACK, "unknown", "", "sha256:", "data.py:load"])
def test_what_stands_in_their_place_is_none(text):
    assert not is_fingerprint(text)
