"""The `kladml` command."""
