"""Every error that KladML raises on purpose.

Each message is one sentence with the thing that is wrong, the distribution or file that owns it, and the
next step. The command line prints the message alone and exits with the class's `exit_code`; a traceback
appears only with `--traceback`.
"""

from __future__ import annotations


class KladMLError(Exception):
    """Base of all errors that KladML raises on purpose.

    Args:
        problem: What is wrong, naming the thing.
        owner: Who the thing belongs to: a distribution with its version, or a file with its line.
        next_step: What the reader can do about it.

    Attributes:
        exit_code: The exit status of the command line for this kind of error.
    """

    exit_code: int = 1

    def __init__(self, problem: str, *, owner: str | None = None, next_step: str | None = None) -> None:
        self.problem = problem
        self.owner = owner
        self.next_step = next_step
        message = problem
        if owner:
            message += f" ({owner})"
        if next_step:
            message += f"; {next_step}"
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments and the notes when the error crosses a process border."""
        return _rebuild, (type(self), self.problem, self.owner, self.next_step), self.__dict__


def _rebuild(cls: type[KladMLError], problem: str, owner: str | None, next_step: str | None) -> KladMLError:
    return cls(problem, owner=owner, next_step=next_step)


class ConfigError(KladMLError):
    """A configuration cannot be read or does not fit its schema."""

    exit_code = 3


class ConfigFileError(ConfigError):
    """A configuration file is absent, unreadable or not valid YAML."""


class UnknownKeyError(ConfigError):
    """A key is set that no part of the schema has, most often a typo."""


class WrongTypeError(ConfigError):
    """A value does not have the type or the range of its key."""


class MissingSettingError(ConfigError):
    """A setting without default is needed by the selected backend and was not given."""


class WorkspaceError(KladMLError):
    """The workspace is absent or cannot be used."""

    exit_code = 3


class AddressError(WorkspaceError):
    """An address is malformed, names nothing, or is taken."""


class NotEmptyError(WorkspaceError):
    """A project, a family or an experiment is not deleted, because something is inside."""


class QueryError(WorkspaceError):
    """A condition on runs, or what to sort them by, cannot be read."""


class DifferenceError(KladMLError):
    """Runs differ where the caller asked that they do not."""

    exit_code = 9


class PluginError(KladMLError):
    """A plugin that was selected cannot be used."""

    exit_code = 4


class UnknownPluginError(PluginError):
    """No installed distribution offers the name that was selected."""


class PluginCollisionError(PluginError):
    """Two distributions offer the name that was selected."""


class DisabledPluginError(PluginError):
    """The selected plugin is switched off by `KLADML_DISABLED_PLUGINS`."""


class BrokenPluginError(PluginError):
    """The selected plugin cannot be imported or does not keep the plugin contract."""


class IncompatiblePluginError(PluginError):
    """The selected plugin was written for another version of the interface."""


class BackendError(KladMLError):
    """A storage, tracker, publisher or catalog failed."""

    exit_code = 5


class StorageError(BackendError):
    """A storage operation failed."""


class ObjectNotFoundError(StorageError):
    """The key or the bucket does not exist in the storage."""


class TrackerError(BackendError):
    """A tracker operation failed."""


class RefusedRunError(TrackerError):
    """A run cannot be recorded where it belongs, now or later, such as one that was deleted there."""


class PublisherError(BackendError):
    """A publisher operation failed."""


class CatalogError(BackendError):
    """A catalog operation failed."""


class CapabilityError(BackendError):
    """An optional capability was used that the backend does not offer."""


class DataError(KladMLError):
    """Training or validation data is absent, unreadable or inconsistent."""

    exit_code = 6


class ModelError(KladMLError):
    """A model cannot be found, built, saved or loaded."""

    exit_code = 6


class ModelReferenceError(ModelError):
    """A model reference does not import or names no class."""


class ModelContractError(ModelError):
    """A model class lacks part of the contract that `ExperimentRunner` needs."""


class TrainingError(KladMLError):
    """Training cannot start or cannot go on."""

    exit_code = 7


class NonFiniteError(TrainingError):
    """A loss or a gradient norm is NaN or infinite."""


class MissingMetricError(TrainingError):
    """A monitored metric is not among those that the model produces."""


class CheckpointError(TrainingError):
    """A checkpoint is absent, incomplete or damaged."""


class PeerLostError(TrainingError):
    """Another process of a distributed training ended, so that this one cannot go on; the other's error says why."""


class StopRun(KladMLError):  # noqa: N818 - a request, not a failure
    """Raised by a lifecycle hook that wants the run to end; any other exception of a hook is only reported."""

    exit_code = 8


class TrainingStopped(StopRun):
    """A signal asked the training to stop, which it did after saving a checkpoint.

    Args:
        problem: What happened, naming the signal and the step.
        owner: As for every error.
        next_step: How to resume.
        signal_number: The signal; the exit status is 128 more.
    """

    def __init__(
        self, problem: str, *, owner: str | None = None, next_step: str | None = None, signal_number: int = 15
    ) -> None:
        super().__init__(problem, owner=owner, next_step=next_step)
        self.exit_code = 128 + signal_number  # what a shell reports for a process that a signal ended
