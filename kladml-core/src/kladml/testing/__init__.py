"""The contract kit: tests that every backend passes, and in-memory backends for tests of your own.

A backend's author subclasses one class and gives one fixture:

```python
import pytest
from kladml.testing import StorageContract

class TestS3Storage(StorageContract):
    @pytest.fixture
    def storage(self, bucket_server):
        return S3Storage(endpoint_url=bucket_server.url)
```

The contracts need pytest (`pip install 'kladml-core[testing]'`); `kladml.testing.fakes`,
`kladml.testing.faults` and `kladml.testing.messages` do not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml.testing.backend import BackendContract
    from kladml.testing.catalog import CatalogContract
    from kladml.testing.config import ConfigContract
    from kladml.testing.publisher import PublisherContract
    from kladml.testing.storage import StorageContract
    from kladml.testing.tracker import TrackerContract

__all__ = [
    "BackendContract",
    "CatalogContract",
    "ConfigContract",
    "PublisherContract",
    "StorageContract",
    "TrackerContract",
]

_MODULES = {name: f"{__name__}.{name.removesuffix('Contract').lower()}" for name in __all__}
_PARTS = ("catalog_datasets", "catalog_deletion", "catalog_entries", "storage_keys", "tracker_resume")
_WITH_ASSERTS = (*_MODULES.values(), *(f"{__name__}.{part}" for part in _PARTS))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        message = f"module '{__name__}' has no attribute '{name}'"
        raise AttributeError(message)
    try:
        import pytest
    except ModuleNotFoundError as error:
        message = f"{__name__}.{name} needs pytest; pip install 'kladml-core[testing]'"
        raise ModuleNotFoundError(message, name="pytest") from error
    # Without this a failing case would show the bare `assert` and not the values.
    pytest.register_assert_rewrite(*(module for module in _WITH_ASSERTS if module not in sys.modules))
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
