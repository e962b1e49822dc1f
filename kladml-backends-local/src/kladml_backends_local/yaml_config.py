"""Configuration from a YAML file, with the environment on top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kladml.config.environment import read_environment
from kladml.config.yaml_file import read_yaml
from kladml.interfaces import ConfigInterface
from kladml_backends_local.config_values import ConfigValues
from kladml_backends_local.settings import YamlConfigSettings

if TYPE_CHECKING:
    from kladml.interfaces import BackendContext, ConfigEntry

FILE_NAME = "kladml.yaml"


class YamlConfig(ConfigInterface):
    """Values of a YAML file, then of the `KLADML_*` environment variables.

    Both are read once, when the object is made.

    Args:
        path: The file; `kladml.yaml` in `folder` by default, which may be absent.
        folder: Where that default is looked for: the workspace around the current folder, or that folder itself
            where there is no workspace, if not given.

    Raises:
        ConfigFileError: The given file is absent, or a file is unreadable or no valid YAML.
    """

    settings_class: ClassVar[type[YamlConfigSettings]] = YamlConfigSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"entries"})

    def __init__(self, path: str | Path | None = None, *, folder: Path | None = None) -> None:
        if path is None:
            self.path = (folder or _default_folder()) / FILE_NAME
            from_file = read_yaml(self.path) if self.path.exists() else []
        else:
            self.path = Path(path).expanduser()
            from_file = read_yaml(self.path)
        self._values = ConfigValues([*from_file, *read_environment()])

    @classmethod
    def from_settings(cls, settings: YamlConfigSettings, context: BackendContext) -> Self:
        """Build the source; a relative path is relative to the workspace."""
        path = None if settings.path is None else context.workspace / Path(settings.path).expanduser()
        return cls(path, folder=context.workspace)

    def __repr__(self) -> str:
        """Show the file."""
        return f"YamlConfig({str(self.path)!r})"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key; a section gives a nested mapping."""
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Give a key a value for this process, over the file and the environment."""
        self._values.set(key, value, "YamlConfig.set")

    def entries(self) -> list[ConfigEntry]:
        """Return every leaf; text of environment variables is not yet converted."""
        return self._values.entries()


def _default_folder() -> Path:
    from kladml.workspace import Workspace

    workspace = Workspace.around()
    return workspace.root if workspace else Path.cwd()
