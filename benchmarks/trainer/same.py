"""Do the contestants train the raw loop's weights? The largest absolute difference after a short fit.

    python same.py [--only CONTESTANT,CONTESTANT]

A contestant's reference is the raw loop with the contestant's optimizer. KladML's is `raw_same_order`: its order of a
shuffled loader is a function of seed and epoch, and a short last window is the mean over its own batches; the raw
loop and the peers divide it by the full number, as `tiny-pre-accum-clip` with 102 batches shows.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import contestants
import jobs
import torch
from measure import train
from tables import reason, table

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [
    ("tiny-dl", 102),
    ("tiny-pre", 102),
    ("tiny-pre-clip", 102),
    ("tiny-pre-accum-clip", 104),
    ("tiny-pre-accum-clip", 102),
    ("tiny-pre-bf16", 102),
    ("tiny-pre-accum-clip-bf16", 104),
    ("mid-dl", 30),
    ("mid-dl-clip", 30),
]


def weights(name: str, job_name: str, steps: int, *, fused: bool) -> torch.Tensor:
    """Return the weights after a contestant's fit, joined, shape (parameters,)."""
    job = jobs.make(job_name, steps=steps)
    if fused:
        job.fuse_optimizer()
    train(name, job)
    return torch.cat([parameter.detach().flatten() for parameter in job.model.parameters()])


def difference(name: str, job_name: str, steps: int) -> float:
    """Return the largest absolute difference to the weights of the contestant's reference."""
    contestant = contestants.load(name)
    fused = getattr(contestant, "FUSED", False)
    expected = weights(getattr(contestant, "REFERENCE", "raw"), job_name, steps, fused=fused)
    return (weights(name, job_name, steps, fused=fused) - expected).abs().max().item()


def same_table(names: list[str]) -> str:
    """Return the differences as a table, contestants down and jobs across."""
    header = ["contestant", *(f"{job_name} ({steps})" for job_name, steps in CASES)]
    return table(header, ([contestants.load(name).LABEL, *_cells(name)] for name in names if name != "raw"))


def _cells(name: str) -> Iterator[str]:
    for job_name, steps in CASES:
        try:
            found = difference(name, job_name, steps)
        except Exception as error:  # noqa: BLE001 - a contestant that fails is a cell, not the end
            yield reason(error)
        else:
            yield f"{found:.1e}" if found else "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    print(same_table(contestants.names(parser.parse_args().only)))


if __name__ == "__main__":
    main()
