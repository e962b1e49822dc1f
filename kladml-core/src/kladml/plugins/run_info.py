"""What lifecycle hooks are told about a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a lifecycle hook is told about a run.

    Attributes:
        address: `project/family/experiment@n`.
        run_id: The tracker's identifier of the run.
        backends: Selected backends of each kind, such as `{"storage": "s3"}`.
        tags: Code version, data fingerprint, seed and the like, as the tracker has them.
    """

    address: str
    run_id: str
    backends: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
