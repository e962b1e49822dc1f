"""What a run needs besides its backends, found and checked before anything is registered: model, loss and data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.datasets import DatasetReference, looks_like_reference
from kladml.datasets.progress import silent
from kladml.errors import DataError, ModelContractError, ModelReferenceError
from kladml.interfaces import ConfigEntry, ExperimentAddress
from kladml.log import get_logger
from kladml.models import check_model_class, is_torch_module
from kladml.models.contract import is_estimator
from kladml.runner.code_files import named_files
from kladml.runner.data import check_data, fingerprint, load_data
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT
from kladml.runner.identity import identity
from kladml.runner.references import load_reference
from kladml.runner.versions import VersionData, check_same_classes, load_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.config import ResolvedConfig
    from kladml.datasets.progress import Progress
    from kladml.workspace import Workspace

log = get_logger(__name__)


@dataclass(frozen=True)
class Given:
    """What the caller of a run gave as objects.

    Attributes:
        model_class: The model's class, or None.
        model_args: Arguments of the class, over those of the configuration.
        loss: The loss, as a function or a name, or None.
        train_data: Training data, a reference to it, or None.
        val_data: Validation data, likewise.
    """

    model_class: Any
    model_args: dict[str, Any]
    loss: Any
    train_data: Any
    val_data: Any


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin.

    Attributes:
        config: Its configuration.
        source: What the configuration was read from, for people.
        model_class: The model's class, checked.
        model_args: All arguments of the class.
        loss: The loss, or None.
        train_data: Training data.
        val_data: Validation data, or None.
        data_fingerprint: Fingerprint of the training data, or None where it cannot be had.
        val_fingerprint: That of the validation data, or what stands in its place: `NO_FINGERPRINT`, `NO_DATA` or
            `KEPT_BACK` of `runner.fingerprints`.
        version: The version of a data set that the training data is, or None.
        val_version: That of the validation data, likewise.
        code: Folder of the user's code.
        code_files: The files of code that its references name, by their paths there.
    """

    config: ResolvedConfig
    source: str
    model_class: type[Any]
    model_args: dict[str, Any]
    loss: Any
    train_data: Any
    val_data: Any
    data_fingerprint: str | None
    val_fingerprint: str
    version: VersionData | None
    val_version: VersionData | None
    code: Path
    code_files: dict[str, Path]

    @property
    def experiment(self) -> ExperimentAddress:
        """The experiment that the run belongs to."""
        return experiment_of(self.config)

    def identity(self, address: str = "", run_id: str = "") -> dict[str, Any]:
        """Return what the checkpoints of a run say of it, JSON-able.

        Args:
            address: Where the run stands.
            run_id: Its identifier.
        """
        return identity(
            address,
            run_id,
            self.config.run,
            self.loss,
            data_fingerprint=self.data_fingerprint,
            val_fingerprint=self.val_fingerprint,
            version=self.version,
            val_version=self.val_version,
        )


def experiment_of(config: ResolvedConfig) -> ExperimentAddress:
    """Return the configured experiment."""
    return ExperimentAddress(config.run.project, config.run.family, config.run.experiment)


def prepare(
    config: ResolvedConfig,
    source: str,
    given: Given,
    folders: Sequence[Path],
    *,
    workspace: Workspace,
    processes: int,
    progress: Progress = silent,
) -> Prepared:
    """Find model, loss and data, and check them.

    Args:
        config: The configuration.
        source: What it was read from, for people.
        given: What the caller gave.
        folders: Where relative references are looked for, in this order; the first is that of the user's code.
        workspace: Where versions of data sets are. Where the data is one, the configuration says which in the end.
        processes: How many processes train.
        progress: Shows the progress of reading versions of data sets.

    Raises:
        ModelError: The model cannot be imported, lacks part of its contract, or cannot train in several processes.
        DataError: The data cannot be read, or is empty or inconsistent.
        TrainingError: The device is not there, or cannot do the precision.
        WrongTypeError: An optimizer, a schedule or a metric is named that cannot be had, or that nobody can judge.
    """
    model_class, loss = _find_model(config, given, folders)
    _check_use(config, model_class, loss, processes)
    train_data, train = _find_data(config, "train", given.train_data, folders, workspace, progress=progress)
    target = None if train is None else train.target
    val_data, val = _find_data(
        config, "val", given.val_data, folders, workspace, progress=progress, default_target=target
    )
    check_same_classes(train, val)
    whole_fingerprint = fingerprint(train_data) if train is None else train.fingerprint
    val_fingerprint = _val_fingerprint(val_data, val, config)
    if val_data is None and config.run.data.val_split:
        from kladml.training.data.keeping_back import keep_back

        share, seed = config.run.data.val_split, config.run.training.seed
        # Others than the trainer get arrays, as a model's own train and an estimator know them.
        train_data, val_data = keep_back(train_data, share, seed, in_place=is_torch_module(model_class))
    return Prepared(
        config=_with_versions(config, train=train, val=val),
        source=source,
        model_class=model_class,
        model_args={**config.run.model.args, **given.model_args},
        loss=loss,
        train_data=train_data,
        val_data=val_data,
        data_fingerprint=whole_fingerprint,
        val_fingerprint=val_fingerprint,
        version=train,
        val_version=val,
        code=folders[0],
        code_files=named_files(_references(config, given), folders),
    )


def _references(config: ResolvedConfig, given: Given) -> list[Any]:
    """Return what model, loss and data come from; an object in place of a reference names no file."""
    chosen, data = config.run.model, config.run.data
    return [
        chosen.ref if given.model_class is None else None,
        chosen.loss if given.loss is None else given.loss,
        data.train if given.train_data is None else given.train_data,
        data.val if given.val_data is None else given.val_data,
    ]


def _find_model(config: ResolvedConfig, given: Given, folders: Sequence[Path]) -> tuple[type[Any], Any]:
    """Import the model and its loss where they are references, and check the contract."""
    chosen, model_class = config.run.model, given.model_class
    if model_class is None:
        if chosen.ref is None:
            problem = "there is no model"
            hint = "name a configuration, see 'kladml config list', or set model.ref to file.py:Class or package:Class"
            raise ModelReferenceError(problem, next_step=hint)
        model_class = load_reference(chosen.ref, folders, key="model.ref")
    loss = chosen.loss if given.loss is None else given.loss
    if isinstance(loss, str) and ":" in loss:
        loss = load_reference(loss, folders, key="model.loss")
    return check_model_class(model_class, loss=loss), loss


def _check_use(config: ResolvedConfig, model_class: type[Any], loss: Any, processes: int) -> None:
    """Check that a model can be trained as it is configured, and say what it does not use."""
    if is_torch_module(model_class):
        from kladml.training.accelerator import check_device
        from kladml.training.names import check_names

        check_device(config.run.training)
        check_names(config)
        return
    if processes > 1:
        problem = f"{model_class.__name__} is no nn.Module, and nothing else trains in {processes} processes"
        raise ModelContractError(problem, next_step="train it in one process, without training.distributed")
    if is_estimator(model_class):
        ignored = [key for key in config.entries if key.startswith("training.") and key != "training.seed"]
        ignored += ["model.loss"] if loss is not None else []
        if ignored:
            log.warning(f"{model_class.__name__} is a scikit-learn estimator and makes no use of {', '.join(ignored)}")


def _find_data(
    config: ResolvedConfig,
    key: str,
    given: Any,
    folders: Sequence[Path],
    workspace: Workspace,
    *,
    progress: Progress,
    default_target: str | None = None,
) -> tuple[Any, VersionData | None]:
    """Load data that is a reference, and check it; also return the version of a data set that it is, if it is one."""
    chosen, version = config.run.data, None
    data = getattr(chosen, key) if given is None else given  # the argument wins over the configuration
    if isinstance(data, str) and looks_like_reference(data):
        target = chosen.target if "data.target" in config.entries else default_target
        try:
            version = load_version(DatasetReference.parse(data), workspace.state, target=target, progress=progress)
        except DataError as error:
            problem = f"data.{key}: {error.problem}"
            raise DataError(problem, owner=error.owner, next_step=error.next_step) from error
        data = version.data
    elif isinstance(data, str | Path):
        data = load_data(str(data), folders, key=f"data.{key}", target=chosen.target, arguments=chosen.args)
    if key == "train" or data is not None:
        check_data(data, f"{key}_data")
    return data, version


def _val_fingerprint(data: Any, version: VersionData | None, config: ResolvedConfig) -> str:
    """Return the fingerprint of validation data as it was given, or what stands in its place."""
    if version is not None:
        return version.fingerprint
    if data is not None:
        return fingerprint(data) or NO_FINGERPRINT
    return KEPT_BACK if config.run.data.val_split else NO_DATA


def _with_versions(config: ResolvedConfig, **found: VersionData | None) -> ResolvedConfig:
    """Return the configuration with the versions and targets that were found, so that they are the same tomorrow."""
    values: dict[str, Any] = {key: version.reference for key, version in found.items() if version is not None}
    if not values:
        return config
    targets = [version.target for version in found.values() if version is not None and version.target is not None]
    values |= {"target": targets[0]} if targets else {}
    entries = dict(config.entries)
    for key, value in values.items():
        name = f"data.{key}"
        entries[name] = ConfigEntry(name, value, entries[name].origin if name in entries else "the data set")
    run = replace(config.run, data=replace(config.run.data, **values))
    return replace(config, run=run, entries=entries)
