"""Recognising data sets that only look things up, and so draw no random numbers."""

from __future__ import annotations

import dis
from types import FunctionType, NoneType
from typing import Any

import numpy as np
import torch

_HARMLESS = frozenset(
    (
        *("RESUME", "NOP", "CACHE", "COPY", "SWAP", "POP_TOP", "RETURN_VALUE", "LOAD_CONST"),
        *("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"),
        *("STORE_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST"),
        *("LOAD_ATTR", "BINARY_SUBSCR", "BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP", "BUILD_CONST_KEY_MAP"),
    )
)
"""Instructions that run no code of anybody's, where attributes and containers are plain."""

_LEAVES = (torch.Tensor, int, float, bool, str, bytes, NoneType)
_MOST_ITEMS = 1_000_000  # looking at more would itself take longer than it saves


def only_looks_up(dataset: Any) -> bool:
    """Tell whether `dataset[index]` provably runs no other code than lookups in plain containers.

    Most data sets in memory are `return self.x[index], self.y[index]`. Nothing random can happen in that, and
    setting random numbers aside for it would take as long as the rest of a small model's step. What cannot be
    proven counts as random, which only costs that time.
    """
    kind = type(dataset)
    getitem = getattr(kind, "__getitem__", None)
    customised = any(name in vars(base) for base in kind.__mro__[:-1] for name in ("__getattribute__", "__getitems__"))
    if customised or not (isinstance(getitem, FunctionType) and hasattr(dataset, "__dict__")):
        return False
    instructions = list(dis.get_instructions(getitem))
    if any(instruction.opname not in _HARMLESS for instruction in instructions):
        return False
    names = {str(instruction.argval) for instruction in instructions if instruction.opname == "LOAD_ATTR"}
    own = vars(dataset)
    return not any(hasattr(kind, name) for name in names) and all(
        name in own and _is_plain([own[name]]) for name in names
    )


def _is_plain(items: list[Any]) -> bool:
    """Tell whether there is nothing but plain values in plain containers, all the way down."""
    seen: set[int] = set()
    while items:
        item = items.pop()
        if type(item) in _LEAVES or id(item) in seen:
            continue
        if type(item) is np.ndarray:
            if item.dtype.hasobject:
                return False
            continue
        if type(item) not in (list, tuple, dict):
            return False
        seen.add(id(item))
        if len(seen) + len(items) + len(item) > _MOST_ITEMS:
            return False
        items.extend(item.values() if type(item) is dict else item)
    return True
