"""The workspace: the folder that holds a user's runs, data and configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kladml.errors import WorkspaceError
from kladml.log import get_logger

MARKER = ".kladml"
VARIABLE = "KLADML_WORKSPACE"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with a `.kladml` folder in it. KladML writes nothing outside.

    Attributes:
        root: The folder, absolute.
    """

    root: Path

    @property
    def state(self) -> Path:
        """Folder of databases, checkpoints and other state of KladML itself."""
        return self.root / MARKER

    @property
    def data(self) -> Path:
        """Folder of the user's data sets, configurations and the files of runs."""
        return self.root / "data"

    @property
    def config_file(self) -> Path:
        """The workspace's configuration file, which may be absent."""
        return self.root / "kladml.yaml"

    @classmethod
    def around(cls, start: Path | None = None) -> Self | None:
        """Return the workspace that a folder lies in, or None.

        `KLADML_WORKSPACE` names the workspace instead, when no folder is given.

        Args:
            start: Where to look first, then in its parents; the current folder by default.

        Raises:
            WorkspaceError: `KLADML_WORKSPACE` names a folder that is no workspace.
        """
        named = os.environ.get(VARIABLE) if start is None else None
        if named:
            root = Path(named).resolve()
            if (root / MARKER).is_dir():
                return cls(root)
            problem = f"{VARIABLE} names {root}, which is no workspace"
            raise WorkspaceError(problem, next_step=f"run kladml init {root}, or unset the variable")
        folder = (start or Path.cwd()).resolve()
        for root in (folder, *folder.parents):
            if (root / MARKER).is_dir():
                return cls(root)
        return None

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Return the workspace that a folder lies in.

        Raises:
            WorkspaceError: There is none.
        """
        workspace = cls.around(start)
        if workspace is None:
            problem = f"{(start or Path.cwd()).resolve()} lies in no KladML workspace"
            raise WorkspaceError(problem, next_step="run kladml init there first")
        return workspace

    @classmethod
    def create(cls, root: Path) -> Self:
        """Make a folder a workspace; doing it again changes nothing.

        Raises:
            WorkspaceError: The folder cannot be written to.
        """
        root = root.resolve()
        try:
            (root / MARKER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"{root} cannot become a workspace: {error.strerror or error}"
            raise WorkspaceError(problem, next_step="choose a folder that you may write to") from error
        return cls(root)

    @classmethod
    def ensure(cls, start: Path | None = None) -> Self:
        """Return the workspace that a folder lies in, or make the folder one and say so."""
        workspace = cls.around(start)
        if workspace is None:
            workspace = cls.create(start or Path.cwd())
            log.warning(f"{workspace.root} is now a KladML workspace: runs are kept in {workspace.state}")
        return workspace

    def resolve(self, path: str | Path) -> Path:
        """Return a path absolute; a relative one is relative to the workspace."""
        return self.root / Path(path).expanduser()
