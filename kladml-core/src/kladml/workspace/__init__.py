"""The workspace on the disk."""

from kladml.workspace.configs import config_file, config_names, configs_folder, find_config, is_config_name
from kladml.workspace.workspace import Workspace

__all__ = ["Workspace", "config_file", "config_names", "configs_folder", "find_config", "is_config_name"]
