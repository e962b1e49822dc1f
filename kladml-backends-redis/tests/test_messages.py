"""Messages become JSON that every reader understands."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest

from kladml_backends_redis.messages import encode


def refuse(constant):
    raise ValueError(constant)


@pytest.mark.parametrize(("value", "written"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_lacks_are_strings(value, written):
    encoded = encode({"event": "step", "loss": value, "metrics": {"each": [value, 1.5]}})
    decoded = json.loads(encoded, parse_constant=refuse)
    assert decoded == {"event": "step", "loss": written, "metrics": {"each": [written, 1.5]}}
    assert repr(float(decoded["loss"])) == repr(value)


def test_json_values_come_back_as_they_were():
    message = {"event": "x", "a": [1, 2.5, True, None, {"b": []}], "c": "naïve 模型 🚀\n", "big": 2**70, "tiny": 5e-324}
    assert json.loads(encode(message)) == message


def test_text_is_utf_8():
    assert "模型" in encode({"name": "模型"}).decode("utf-8")


def test_other_libraries_numbers_become_json_numbers():
    # Fraction is a Real and no float, as NumPy's float32 is.
    assert encode({"loss": Fraction(1, 4)}) == b'{"loss":0.25}'


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {("a", "b"): 1}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError):
        encode({"event": value})


def test_message_that_contains_itself_is_refused():
    message = {"event": "x"}
    message["again"] = message
    with pytest.raises(ValueError, match="contains itself"):
        encode(message)


def test_text_without_utf_8_form_is_refused():
    with pytest.raises(ValueError, match="surrogates"):
        encode({"path": "caf\udce9"})
