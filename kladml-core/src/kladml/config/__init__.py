"""Configuration: layers of values, one schema, and the origin of everything."""

from kladml.config.backend_settings import backend_settings
from kladml.config.environment import read_environment
from kladml.config.fields import SchemaKey, schema_keys
from kladml.config.layers import BACKEND_SECTIONS, flatten, from_overrides, from_source
from kladml.config.resolve import ResolvedConfig, resolve
from kladml.config.schema import RunConfig, TrainingConfig
from kladml.config.yaml_file import Unparsed, dump_yaml, read_yaml

__all__ = [
    "BACKEND_SECTIONS",
    "ResolvedConfig",
    "RunConfig",
    "SchemaKey",
    "TrainingConfig",
    "Unparsed",
    "backend_settings",
    "dump_yaml",
    "flatten",
    "from_overrides",
    "from_source",
    "read_environment",
    "read_yaml",
    "resolve",
    "schema_keys",
]
