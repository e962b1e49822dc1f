"""The interfaces that backends implement; they need nothing but the standard library."""

from kladml.interfaces.address import ExperimentAddress, RunAddress
from kladml.interfaces.backend import Backend, BackendContext
from kladml.interfaces.catalog import CatalogInterface, CatalogRun
from kladml.interfaces.config import ConfigEntry, ConfigInterface
from kladml.interfaces.publisher import PublisherInterface
from kladml.interfaces.settings import Setting, settings_of
from kladml.interfaces.storage import StorageInterface
from kladml.interfaces.tracked_run import RUN_STATUSES, TrackedRun, UndeliveredRun
from kladml.interfaces.tracker import TrackerInterface

__all__ = [
    "RUN_STATUSES",
    "Backend",
    "BackendContext",
    "CatalogInterface",
    "CatalogRun",
    "ConfigEntry",
    "ConfigInterface",
    "ExperimentAddress",
    "PublisherInterface",
    "RunAddress",
    "Setting",
    "StorageInterface",
    "TrackedRun",
    "TrackerInterface",
    "UndeliveredRun",
    "settings_of",
]
