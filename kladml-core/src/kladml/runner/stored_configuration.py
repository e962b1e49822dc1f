"""The configuration of a run that goes on, as every process of it has to know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kladml.errors import ConfigError
from kladml.interfaces import ConfigEntry, ExperimentAddress

if TYPE_CHECKING:
    from kladml.runner.resume import ResumePoint
    from kladml.runner.team import Team


@dataclass(frozen=True, slots=True)
class StoredConfiguration:
    """How a run was configured that goes on.

    Attributes:
        name: Its address.
        address: Entries of the experiment that it belongs to.
        entries: Its whole configuration.
        code: Folder in which its references were looked for first, or None.
    """

    name: str
    address: list[ConfigEntry]
    entries: list[ConfigEntry] = field(default_factory=list)
    code: str | None = None

    @classmethod
    def of(cls, point: ResumePoint | None, team: Team) -> StoredConfiguration | None:
        """Return the configuration in every process; None where a new run begins from a checkpoint.

        Args:
            point: What the run goes on from, which the main process knows.
            team: The processes of the run.
        """
        told = None
        if point is not None and point.record is not None:
            entries = [[entry.key, entry.value, entry.origin] for entry in point.configuration]
            told = {"address": point.record.address, "entries": entries, "code": point.record.code}
        told = team.tell(told)
        if told is None:
            return None
        address: str = told["address"]
        experiment = ExperimentAddress.parse(address.rpartition("@")[0])
        names = {"project": experiment.project, "family": experiment.family, "experiment": experiment.experiment}
        return cls(
            address,
            [ConfigEntry(key, name, f"run {address}") for key, name in names.items()],
            [ConfigEntry(*entry) for entry in told["entries"]],
            told["code"],
        )

    def check_experiment(self, wanted: ExperimentAddress) -> None:
        """Refuse to go on with a run as if it were one of another experiment.

        Raises:
            ConfigError: It is not one of the experiment that was asked for.
        """
        if str(wanted) != self.name.rpartition("@")[0]:
            problem = f"run {self.name} is not one of the experiment {wanted}"
            raise ConfigError(problem, next_step="leave the experiment out, or name a run of it")
