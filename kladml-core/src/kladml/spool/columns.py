"""Many metrics in one record: a column of keys, of times, of steps and of values."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kladml.spool.events import MetricPoint

POINTS_AT_ONCE = 1000
BYTES_OF_POINT = 4 + 8 + 8 + 8

_FRONT = struct.Struct("<III")
"""The record's first word, the number of its set of keys, the number of points."""


def columns_of(points: Sequence[MetricPoint]) -> tuple[tuple[str, ...], bytes]:
    """Return the keys of points, each once, and the columns of the points.

    Raises:
        TypeError: A value, time or step is no number.
        OverflowError: A time or step has more than 64 bits.
    """
    keys, values, times, steps = zip(*points, strict=True)
    names = tuple(dict.fromkeys(keys))
    places = {name: place for place, name in enumerate(names)}
    columns: tuple[array[int] | array[float], ...] = (
        array("I", [places[key] for key in keys]),
        array("q", times),
        array("q", [step or 0 for step in steps]),
        array("d", values),
    )
    for column in columns:
        _swap_if_big(column)
    return names, b"".join(column.tobytes() for column in columns)


def front_of(word: int, number: int, count: int) -> bytes:
    """Return what comes before the columns in a record.

    Args:
        word: The record's first word.
        number: Number of the set of keys.
        count: How many points there are.
    """
    return _FRONT.pack(word, number, count)


def size_of(count: int) -> int:
    """Return the size of a record's body for a number of points."""
    return _FRONT.size + count * BYTES_OF_POINT


def points_of(body: bytes, sets: Mapping[int, tuple[str, ...]]) -> Iterator[MetricPoint]:
    """Return the points of a record.

    Args:
        body: The record's body.
        sets: Keys by the number of their set.
    """
    _, number, count = _FRONT.unpack_from(body)
    names = sets[number]
    places, times, steps = array("I"), array("q"), array("q")
    values = array("d")
    offset = _FRONT.size
    for column in (places, times, steps, values):
        end = offset + count * column.itemsize
        column.frombytes(body[offset:end])
        _swap_if_big(column)
        offset = end
    return zip([names[place] for place in places], values, times, steps, strict=True)


def _swap_if_big(column: array[int] | array[float]) -> None:
    """Bring a column into the order of bytes that files have, or back from it."""
    if sys.byteorder == "big":
        column.byteswap()
