"""What a run notes of the data that it has: a fingerprint, or what stands in its place."""

from __future__ import annotations

import re

NO_FINGERPRINT = "unknown (it is neither in memory nor a data set)"
"""What stands for the fingerprint of data that has none."""

NO_DATA = "none"
"""What stands for the fingerprint of validation data where there is none."""

KEPT_BACK = "part of training data"
"""What stands for the fingerprint of validation data that is a share of the training data, whose own says it all."""

_FORM = re.compile(r"[a-z0-9]+:[0-9a-f]+")


def is_fingerprint(text: str) -> bool:
    """Tell a fingerprint, of arrays or of a version of a data set, from what stands in its place.

    Whatever the algorithm is, a fingerprint is its name, a colon and hexadecimal digits: `sha256:…`, `blake2b:…`.
    """
    return _FORM.fullmatch(text) is not None
