"""Running experiments."""

from kladml.runner.experiment_runner import ExperimentRunner
from kladml.runner.result import RunResult

__all__ = ["ExperimentRunner", "RunResult"]
