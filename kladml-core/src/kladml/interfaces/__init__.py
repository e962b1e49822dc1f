"""The interfaces that backends implement; they need nothing but the standard library."""

from kladml.interfaces.address import LEVELS, EntryAddress, ExperimentAddress, RunAddress
from kladml.interfaces.backend import Backend, BackendContext
from kladml.interfaces.catalog import CatalogInterface
from kladml.interfaces.catalog_entries import CatalogDataset, CatalogEntry, CatalogRun, Removal
from kladml.interfaces.config import ConfigEntry, ConfigInterface
from kladml.interfaces.dataset_numbers import DatasetNumbers
from kladml.interfaces.hierarchy import Hierarchy
from kladml.interfaces.publisher import Listener, PublisherInterface
from kladml.interfaces.settings import Setting, settings_of
from kladml.interfaces.storage import StorageInterface
from kladml.interfaces.tracked_run import RUN_STATUSES, TrackedRun, UndeliveredRun
from kladml.interfaces.tracker import TrackerInterface

__all__ = [
    "LEVELS",
    "RUN_STATUSES",
    "Backend",
    "BackendContext",
    "CatalogDataset",
    "CatalogEntry",
    "CatalogInterface",
    "CatalogRun",
    "ConfigEntry",
    "ConfigInterface",
    "DatasetNumbers",
    "EntryAddress",
    "ExperimentAddress",
    "Hierarchy",
    "Listener",
    "PublisherInterface",
    "Removal",
    "RunAddress",
    "Setting",
    "StorageInterface",
    "TrackedRun",
    "TrackerInterface",
    "UndeliveredRun",
    "settings_of",
]
