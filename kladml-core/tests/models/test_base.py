"""The model contract, outside a run."""

import re
from pathlib import Path

import numpy as np
import pytest

from kladml import BaseModel, MLTask
from kladml.models import base
from kladml.models.context import RunContext


def test_the_example_in_the_docstring_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", base.BaseModel.__doc__ or "", re.DOTALL)
    namespace: dict = {}
    exec(compile(re.sub(r"(?m)^    ", "", code), "docstring", "exec"), namespace)  # noqa: S102 - our own example
    model = namespace["MeanModel"]()
    assert model.train(np.zeros((2, 1)), np.array([1.0, 3.0])) == {"mse": 1.0}
    model.save(str(tmp_path / "mean.npy"))
    other = namespace["MeanModel"]()
    other.load(str(tmp_path / "mean.npy"))
    assert other.predict(np.zeros((3, 1))).tolist() == [2.0, 2.0, 2.0]
    assert Path(base.__file__).name == "base.py"


def test_a_model_without_part_of_the_contract_cannot_be_built():
    class Half(BaseModel):
        ml_task = MLTask.OTHER

    with pytest.raises(TypeError, match="evaluate"):
        Half()


def test_outside_a_run_logging_goes_nowhere_and_the_trainer_has_the_defaults():
    context = RunContext()
    context.log_metric("a", 1.0, step=1)
    assert context.trainer().config == context.training


def test_in_a_run_metrics_reach_the_tracker():
    seen = []
    context = RunContext(log_metrics=lambda metrics, step: seen.append((dict(metrics), step)))
    context.log_metric("a", 1.0, step=1)
    assert seen == [({"a": 1.0}, 1)]


def test_a_model_outside_a_run_has_a_run_that_records_nothing():
    class Trained(BaseModel):
        ml_task = MLTask.OTHER

        def train(self, X_train, y_train=None, X_val=None, y_val=None):
            self.run.log_metric("a", 1.0)
            self.run.log_metrics({"b": 2.0}, 3)
            return {"epochs": self.run.training.max_epochs}

        predict = evaluate = save = load = train

    model = Trained()
    assert model.train(None) == {"epochs": 10}
    assert model.run.checkpoint_dir is None
    context = RunContext()
    model.run = context
    assert model.run is context
