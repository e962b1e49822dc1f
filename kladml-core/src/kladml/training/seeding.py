"""Seeds: one for the process, and one for each epoch's order."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the global random number generators of Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - users' augmentations draw from it
    torch.manual_seed(seed)


def derived_seed(*parts: int | str) -> int:
    """Return a seed of 63 bits that depends on all parts and on nothing else.

    Neighbouring epochs get unrelated streams, which `seed + epoch` would not give: epoch 1 of seed 0 would
    then be epoch 0 of seed 1.
    """
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def batch_seed(epoch_seed: int, position: int) -> int:
    """Return the seed of a batch: as `derived_seed`, in a tenth of its time.

    The steps of a Weyl sequence (https://doi.org/10.1007/BF01475864) never meet within an epoch.
    """
    return (epoch_seed + position * 0x9E3779B97F4A7C15) & 0x7FFFFFFFFFFFFFFF


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded from the parts."""
    return torch.Generator().manual_seed(derived_seed(*parts))
