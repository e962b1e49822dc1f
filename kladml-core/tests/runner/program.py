"""A program that trains, as a user's script would: tests start, kill and resume it as real processes.

Its only argument is JSON: what it is to do, and where and how it is to end before its time.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kladml import BaseModel, ExperimentRunner, MLTask
from kladml.plugins import PluginIndex, PluginRegistry
from kladml.testing.fakes import MemoryCatalog, MemoryPublisher, MemoryStorage, MemoryTracker

torch.set_num_threads(1)
options = json.loads(sys.argv[1])
rank = int(os.environ.get("RANK", "0"))


class Net(nn.Module):
    seen = 0

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.3), nn.Linear(5, 1))

    def training_step(self, batch):
        inputs, target = batch
        Net.seen += self.training
        if self.training and options.get("at") == Net.seen and options.get("on", 0) == rank:
            if options["how"] == "raise":
                raise ValueError("of the user's own")
            if options["how"] == "stay":
                print("waiting", flush=True)  # noqa: T201
                sys.stdin.read()
            else:
                os.kill(os.getpid(), getattr(signal, options["how"]))
        return ((self.layers(inputs)[:, 0] - target) ** 2).mean()


class Mean(BaseModel):
    ml_task = MLTask.REGRESSION

    def train(self, X_train, y_train=None, X_val=None, y_val=None):
        return {}

    def predict(self, X):
        return X

    def evaluate(self, X_test, y_test=None):
        return {}

    def save(self, path):
        Path(path).write_text("x", encoding="utf-8")

    def load(self, path): ...


class Refusing(MemoryTracker):
    def check(self):
        raise OSError("nobody there")


random = np.random.default_rng(7)
X, y = random.random((20, 3)).astype(np.float32), random.random(20).astype(np.float32)
if options.get("other_data_on") == rank:
    X = X + 1
tracker = Refusing() if options.get("refuse") else MemoryTracker()
storage, catalog, publisher = MemoryStorage(), MemoryCatalog(), MemoryPublisher()
chosen = {"storage": storage, "tracker": tracker, "publisher": publisher, "catalog": catalog}
if options.get("alone"):
    chosen = dict.fromkeys(chosen)
runner = ExperimentRunner(config=None, registry=PluginRegistry(PluginIndex([])), **chosen)
training = {"max_epochs": 4, "batch_size": 4, "device": "cpu", "timeout": 60, "checkpoint": {"every_steps": 1}}
training |= options.get("training", {})
report = {"rank": rank}
try:
    model = {"Net": Net, "Mean": Mean}[options.get("model", "Net")]
    result = runner.run(
        model,
        (X, y),
        (X, y),
        training=training,
        resume=options.get("resume"),
        allow_world_change=options.get("allow_world_change", False),
    )
except BaseException as error:  # noqa: BLE001 - what it is, the tests say
    report |= {"error": type(error).__name__, "message": str(error)}
    report["exit_code"] = getattr(error, "exit_code", None)
    print(json.dumps(report), flush=True)  # noqa: T201
    if options.get("linger"):
        sys.stdin.read()
    os._exit(3)
state = result.model.module.state_dict() if model is Net else {}
report |= {
    "address": str(result.address),
    "run_id": result.run_id,
    "metrics": result.metrics,
    "status": result.status,
    "artifacts": sorted(result.artifacts),
    "weights": {k: v.numpy().tobytes().hex() for k, v in state.items()},
    "tracked": len(tracker.runs),
    "catalogued": len(catalog.runs),
    "stored": len(storage.files),
    "messages": len(publisher.messages),
}
print(json.dumps(report), flush=True)  # noqa: T201
