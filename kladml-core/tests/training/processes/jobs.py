"""The trainings that the tests of this folder interrupt. A job is JSON-able: see `DEFAULTS`."""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))  # this file is loaded by its path

from data import BATCH, DATA, Samples
from models import MODELS, noise
from trouble import Troubles

from kladml.config.schema import (
    CheckpointConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainingConfig,
)
from kladml.errors import KladMLError
from kladml.training import TrainerCallback
from kladml.training.trainer import UniversalTrainer

DEFAULTS = {
    "data": "dataset",  # a key of DATA
    "model": "plain",  # a key of MODELS
    "samples": 43,  # 11 batches, the last one of 3
    "val": True,  # whether there is validation data
    "training": {},  # changes of the configuration below
    "callback": True,  # whether a callback listens, draws random numbers, and has a state
    "checkpoints": True,  # whether there is a folder for them
    "trouble": [],  # what goes wrong, each as the arguments of `Trouble`
    "resume": None,  # the folder of a checkpoint or of several
    "allow_world_change": False,
    "log": False,  # whether each process logs which samples it trains on
}


def configuration(changes, world):
    """Return the configuration of a job with so many processes."""
    parts = {
        "optimizer": OptimizerConfig(name="adamw", lr=0.02),
        "scheduler": SchedulerConfig(name="cosineannealinglr", interval="step", args={"T_max": 30}),
        "checkpoint": CheckpointConfig(every_steps=1, keep_last=3),
        "early_stopping": EarlyStoppingConfig(),
    }
    for name, part in parts.items():
        for key, value in changes.get(name, {}).items():
            setattr(part, key, value)
    plain = {
        "max_epochs": 3,
        "batch_size": BATCH,
        "device": "cpu",
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 1.0,
        "log_every": 2,
        "timeout": 600.0,
        "distributed": world > 1,
        "num_processes": world,
    }
    return TrainingConfig(**{**plain, **changes, **parts})


class Witness(TrainerCallback):
    """Has a state, draws random numbers, and says what it is told."""

    def __init__(self, reach):
        self.reach, self.told = reach, []

    def _tell(self, point, *values):
        self.told.append([point, *values])
        noise()
        self.reach(point)

    def on_fit_started(self, info):
        noise()

    def on_step(self, epoch, step, loss, lr):
        self._tell("step", epoch, step, loss, lr)

    def on_validated(self, epoch, step, metrics):
        self._tell("validated", epoch, step, dict(metrics))

    def on_epoch_ended(self, epoch, step, metrics):
        self._tell("epoch ended", epoch, step, dict(metrics))

    def on_checkpoint_saved(self, path, step, *, is_best):
        noise()
        self.reach("saved")

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state):
        self.told = list(state["told"])


def run(job, folder):
    """Train as a job says, with checkpoints in `folder`/checkpoints, and return what came of it."""
    try:
        return _train({**DEFAULTS, **job}, Path(folder))
    except KladMLError as error:
        traceback.print_exc()
        said = {"error": type(error).__name__, "problem": error.problem, "next_step": error.next_step or ""}
        return {"failed": {"code": error.exit_code, **said}}


def _train(job, folder):
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    reach = Troubles(job["trouble"], rank).reach
    config = configuration(job["training"], world)
    torch.manual_seed(1)
    model = MODELS[job["model"]](reach, _log_to(folder / f"samples-{rank}.txt") if job["log"] else None)
    for seed in (torch.manual_seed, random.seed, lambda now: np.random.seed(now % 2**32)):  # noqa: NPY002
        seed(time.time_ns())  # what a process happens to begin with must have no say
    trainer = UniversalTrainer(
        config,
        checkpoint_dir=folder / "checkpoints" if job["checkpoints"] else None,
        callbacks=[Witness(reach)] if job["callback"] else [],
    )
    result = trainer.fit(
        model,
        DATA[job["data"]](Samples(job["samples"], reach), config.num_workers),
        Samples(13, random=False) if job["val"] else None,
        resume=job["resume"],
        allow_world_change=job["allow_world_change"],
    )
    return {
        "metrics": result.metrics,
        "history": result.history,
        "epochs": result.epochs,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
        "best_epoch": result.best_epoch,
        "best": result.best_checkpoint and result.best_checkpoint.name,
        "weights": [float(value.double().sum()) for value in model.state_dict().values()],
    }


def _log_to(path):
    def log(numbers):
        with path.open("a") as file:
            print(*numbers.tolist(), file=file)

    return log
