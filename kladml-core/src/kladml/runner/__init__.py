"""Running experiments. What it takes to run one is imported at the first use of the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml.runner.experiment_runner import ExperimentRunner
    from kladml.runner.result import RunResult

__all__ = ["ExperimentRunner", "RunResult"]


def __getattr__(name: str) -> Any:
    if name == "ExperimentRunner":
        from kladml.runner.experiment_runner import ExperimentRunner

        return ExperimentRunner
    if name == "RunResult":
        from kladml.runner.result import RunResult

        return RunResult
    message = f"module 'kladml.runner' has no attribute '{name}'"
    raise AttributeError(message)
