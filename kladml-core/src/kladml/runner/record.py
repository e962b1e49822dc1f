"""What a run's folder keeps of it: enough to say how it stands, and to go on with it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kladml.errors import WorkspaceError
from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "run.json"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
CODE_DIFF = "code.diff"


@dataclass
class RunRecord:
    """A run as `run.json` in its folder has it, from the run's start on.

    Attributes:
        address: `project/family/experiment@n`.
        run_id: The first tracker's identifier of the run, or one of KladML's own.
        status: One of `kladml.interfaces.RUN_STATUSES`; a run that was killed without warning stays `RUNNING`.
        started_at: When it began first, in ISO 8601 with UTC offset; empty if an older version wrote the record.
        error: Why it ended early, or None.
        metrics: Final metrics.
        tags: What the run was made from.
        backends: Selected backends by kind, several joined by a comma.
        tracker_runs: Name of each tracker and its own identifier of the run.
        copied_to: Those of these trackers that did not record the run, but got a copy of it.
        earlier_ids: What `run_id` was before, where a tracker had to start anew when the run was resumed.
        resumed: How often the run was resumed.
        code: Folder in which the references to its code and data were looked for first.
        params: Its configuration as trackers record it, flat.
        plugins: Selected backends and the configuration source with their versions, as people read them.
        environment: Interpreter, platform, device and installed distributions, as `runner.environment` has them.
        code_diff: SHA-256 of `code.diff` beside the record, or None where no tracked file was changed.
        code_files: SHA-256 of each file of code that a reference of the configuration names, by its path there.
        untracked: Those of these files that Git does not track, where the code has a revision.
    """

    address: str
    run_id: str
    status: str = "RUNNING"
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    backends: dict[str, str] = field(default_factory=dict)
    tracker_runs: list[tuple[str, str]] = field(default_factory=list)
    copied_to: list[str] = field(default_factory=list)
    earlier_ids: list[str] = field(default_factory=list)
    resumed: int = 0
    code: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    plugins: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    code_diff: str | None = None
    code_files: dict[str, str] = field(default_factory=dict)
    untracked: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """Read the record of a run's folder; None if there is none.

        Raises:
            WorkspaceError: It is there and cannot be read.
        """
        file = folder / RECORD
        try:
            content: dict[str, Any] = {"started_at": ""} | json.loads(file.read_text(encoding="utf-8"))
            known = {item.name for item in dataclasses.fields(cls)}
            record = cls(**{name: value for name, value in content.items() if name in known})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            problem = f"the record of a run, {file}, cannot be read: {error}"
            raise WorkspaceError(problem, next_step="name a checkpoint's folder to start a new run from it") from error
        record.tracker_runs = [(str(name), str(run_id)) for name, run_id in record.tracker_runs]
        return record

    def write(self, folder: Path) -> Path:
        """Write the record into a folder, whole or not at all, and return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / RECORD
        with written_whole(file) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=1, default=str), encoding="utf-8")
        return file
