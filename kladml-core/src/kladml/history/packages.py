"""Which installed distributions the numbers of a run depend on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kladml.runner.code_files import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kladml.history.pages import RunPage

_TELLING = frozenset(
    {
        "accelerate",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "pytorch-triton",
        "safetensors",
        "scikit-learn",
        "scipy",
        "torch",
        "triton",
    }
)
_TELLING_STARTS = ("kladml", "nvidia-")


def own_distributions(pages: Iterable[RunPage]) -> set[str]:
    """Return the distributions that the plugins and the code of runs come from, as far as their names tell."""
    found = set()
    for page in pages:
        owners = [text.rpartition("(")[2].partition(" ")[0] for text in page.plugins if text.endswith(")")]
        modules = [str(page.params.get(key) or "").rpartition(":")[0].partition(".")[0] for key in REFERENCES]
        found |= {_canonical(name) for name in (*owners, *modules) if name}
    return found


def numbers_depend_on(name: str, own: Collection[str]) -> bool:
    """Tell whether another version of a distribution may change the numbers of a run.

    Args:
        name: The distribution.
        own: What `own_distributions` says of the run.
    """
    canonical = _canonical(name)
    return canonical in _TELLING or canonical.startswith(_TELLING_STARTS) or canonical in own


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
