"""The settings of the tracker `jsonl`: one field per setting, each with a sentence about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class JsonlSettings:
    """What may stand under `tracker.jsonl` in a configuration."""

    folder: str = field(
        default=".kladml/jsonl", metadata={"doc": "Folder with one file per run; relative to the workspace."}
    )
    sync: bool = field(default=False, metadata={"doc": "Force each epoch to the disk, which survives a power cut."})
