"""The workspace on the disk."""

from kladml.workspace.workspace import Workspace

__all__ = ["Workspace"]
