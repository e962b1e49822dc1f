"""The schema of a run's configuration: dataclasses whose field metadata documents and bounds every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MODES = ("auto", "min", "max")
STRATEGIES = ("ddp", "fsdp")
DEVICES = ("auto", "cpu", "cuda", "mps", "tpu")


def _key(
    default: Any,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    below: float | None = None,
    one_line: bool = False,
) -> Any:
    """Declare a key with its default, one sentence about it, and its bounds."""
    metadata = {"doc": doc, "choices": choices, "least": least, "below": below, "one_line": one_line}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class EarlyStoppingConfig:
    """When training ends before `max_epochs`."""

    enabled: bool = _key(False, "Stop when the monitored metric no longer improves.")
    monitor: str | None = _key(None, "Metric to watch; val_loss with validation data, else loss.")
    mode: str = _key("auto", "Whether less or more is better; auto knows losses, errors and accuracies.", choices=MODES)
    patience: int = _key(5, "Validations without improvement after which training stops.", least=1)
    min_delta: float = _key(0.0, "Least change that counts as an improvement.", least=0)


@dataclass
class CheckpointConfig:
    """Which states of the training are kept."""

    enabled: bool = _key(True, "Save checkpoints.")
    every_epochs: int = _key(1, "Epochs between two checkpoints; 0 for none but the best and the last.", least=0)
    every_steps: int = _key(0, "Optimizer steps between two checkpoints; 0 for none.", least=0)
    every_minutes: float = _key(0.0, "Minutes between two checkpoints; 0 for none.", least=0)
    keep_last: int = _key(2, "How many of the newest checkpoints stay.", least=1)
    mirror: bool = _key(False, "Also keep them in the run's storage, so that another machine can resume.")
    monitor: str | None = _key(None, "Metric that decides which one is best; as early_stopping.monitor by default.")
    mode: str = _key("auto", "Whether less or more of it is better.", choices=MODES)
    restore_best: bool = _key(False, "Put the best checkpoint's weights into the model after the last epoch.")


@dataclass
class OptimizerConfig:
    """The optimizer, where the model does not bring its own."""

    name: str = _key("adamw", "An optimizer of torch.optim, in any case.")
    lr: float = _key(1e-3, "Learning rate.", least=0)
    args: dict[str, Any] = _key(dict, "Further arguments of the optimizer.")


@dataclass
class SchedulerConfig:
    """The learning-rate schedule, where the model does not bring its own."""

    name: str | None = _key(None, "A scheduler of torch.optim.lr_scheduler, in any case; none by default.")
    interval: str = _key("epoch", "When it steps.", choices=("step", "epoch"))
    args: dict[str, Any] = _key(dict, "Arguments of the scheduler.")


@dataclass
class TrainingConfig:
    """How `UniversalTrainer` trains."""

    max_epochs: int = _key(10, "Passes over the training data.", least=1)
    max_steps: int | None = _key(None, "Optimizer steps at most; no bound by default.", least=1)
    batch_size: int = _key(32, "Samples per step and process.", least=1)
    mixed_precision: str = _key("no", "Precision of the forward pass.", choices=("no", "fp16", "bf16"))
    gradient_accumulation_steps: int = _key(1, "Batches per optimizer step.", least=1)
    gradient_clipping: float | None = _key(None, "Largest norm of all gradients together; 0 or none is off.", least=0)
    early_stopping: EarlyStoppingConfig = _key(EarlyStoppingConfig, "When training ends early.")
    checkpoint: CheckpointConfig = _key(CheckpointConfig, "Which states are kept.")
    optimizer: OptimizerConfig = _key(OptimizerConfig, "The optimizer, where the model brings none.")
    scheduler: SchedulerConfig = _key(SchedulerConfig, "The schedule, where the model brings none.")
    distributed: bool = _key(False, "Train in several processes.")
    num_processes: int | None = _key(None, "How many processes, on all machines together; as started.", least=1)
    strategy: str = _key("ddp", "What each process holds: ddp the whole model, fsdp a share.", choices=STRATEGIES)
    fsdp_wrap: list[str] = _key(list, "Classes that fsdp takes apart as units; members of containers by default.")
    find_unused_parameters: bool = _key(False, "Let ddp look for parameters that a step leaves out, which costs time.")
    timeout: float = _key(600.0, "Seconds without progress of a process or a worker that end the training.", least=1)
    device: str = _key("auto", "Where to train: auto, cpu, cuda, mps or tpu.", choices=DEVICES)
    seed: int = _key(0, "Seed of the data order and of all random numbers.", least=0)
    compile: bool = _key(False, "Compile the model with torch.compile.")
    shuffle: bool = _key(True, "Shuffle arrays and data sets anew each epoch; a DataLoader keeps its own order.")
    num_workers: int = _key(0, "Processes that load a Dataset's samples; 0 loads in the training process.", least=0)
    validate_every_steps: int = _key(0, "Optimizer steps between two validations; 0 for one after each epoch.", least=0)
    inference_mode: bool = _key(True, "Validate in torch's inference mode; off where a module keeps what it computes.")
    log_every: int = _key(50, "Optimizer steps between two published losses; 0 for none.", least=0)


@dataclass
class ModelConfig:
    """Which model is trained."""

    ref: str | None = _key(None, "The class: package.module:Class or path/to/file.py:Class.")
    args: dict[str, Any] = _key(dict, "Arguments of the class.")
    loss: str | None = _key(None, "Loss of a bare nn.Module: a name such as cross_entropy, or module:function.")


@dataclass
class DataConfig:
    """Which data the model is trained on."""

    train: str | None = _key(
        None, "A data set (name or name@version), a file (.npz, .safetensors, .csv) or file.py:function."
    )
    val: str | None = _key(None, "Validation data, given as train is.")
    val_split: float = _key(
        0.0, "Share of train that is kept back for validation where val is not given; 0 for none.", least=0, below=1
    )
    target: str = _key("y", "Array or column of a data file that holds the targets.")
    args: dict[str, Any] = _key(dict, "Arguments of the data functions.")


@dataclass
class ArtifactsConfig:
    """Where a run's files go."""

    bucket: str | None = _key(None, "Bucket in the selected storage; the storage's own default if none is given.")


@dataclass
class RunConfig:
    """Everything that a run is configured with, but for its backends."""

    project: str = _key("default", "Project that the run belongs to.")
    family: str = _key("default", "Family of models in the project.")
    experiment: str = _key("default", "Experiment in the family.")
    run_name: str | None = _key(None, "A name for people; the address names the run anyway.", one_line=True)
    model: ModelConfig = _key(ModelConfig, "Which model is trained.")
    data: DataConfig = _key(DataConfig, "Which data it is trained on.")
    training: TrainingConfig = _key(TrainingConfig, "How it is trained.")
    artifacts: ArtifactsConfig = _key(ArtifactsConfig, "Where the run's files go.")
