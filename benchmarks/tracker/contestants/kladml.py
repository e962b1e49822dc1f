"""KladML's `LocalTracker`: a spool, drained into an MLflow database in the background.

The database is there, as in every run but the first of a workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import _mlflow

if TYPE_CHECKING:
    from pathlib import Path

LABEL, ORDER = "KladML", 10
ENVIRONMENT = "kladml"
# So many that the loops last for seconds: the background's work falls into them.
CALLS = {"one": 1_000_000, "ten": 100_000, "batch": 300, "paced": 3_000}
count = _mlflow.count

_MAKE = "from kladml_backends_local.tracker import LocalTracker; LocalTracker(path).check()"


class Tracker:
    def __init__(self, folder: Path) -> None:
        from kladml_backends_local.tracker import LocalTracker

        self._tracker = tracker = LocalTracker(_mlflow.make_database(folder, _MAKE))
        tracker.check()
        tracker.start_run("bench")
        # What a user calls, with nothing around it: a call of Python is a tenth of what is timed.
        self.log_metric = tracker.log_metric
        self.log_metrics = tracker.log_metrics
        self.log_batch = tracker.log_points

    def close(self) -> None:
        self._tracker.end_run()
        self._tracker.close()
