"""What a run returns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml.interfaces import RunAddress


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run; `result["metrics"]` reads the same as `result.metrics`.

    Attributes:
        run_id: The tracker's identifier, or one of KladML's own when no tracker is on.
        address: `project/family/experiment@n`.
        status: `FINISHED`; a run that failed raises instead.
        metrics: Final metrics by name.
        artifacts: URIs of the stored files, by their name in the run.
        how_to_view: Commands or addresses with which a person looks at the run.
        warnings: What went wrong without stopping the run, such as a tracker that failed.
        model: The trained model.
    """

    run_id: str
    address: RunAddress
    status: str
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    how_to_view: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    model: Any = field(default=None, repr=False)

    def __getitem__(self, name: str) -> Any:
        """Return the attribute of that name.

        Raises:
            KeyError: There is none.
        """
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def keys(self) -> list[str]:
        """Return the names that can be indexed, so that `dict(result)` works."""
        return [item.name for item in fields(self)]
