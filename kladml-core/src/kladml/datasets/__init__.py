"""Data sets: versions of files, kept by content, described, compared and moved.

```text
store ──▶ describe ──▶ tables, csv_files, arrays, images ──▶ formats, schema
  │ └───▶ objects, seals, lock ──▶ hashing, links ──▶ direct_copy
  └─────▶ manifest ──▶ reference, tree;  catalog_versions      the numbers
difference, training_arrays ──▶ tables, arrays ...      what a version holds
folders, transfer, catalog_sync ──▶ store               data/datasets/, the storage and the catalog
```

A workspace keeps contents by digest in `.kladml/objects` and a manifest for each version in `.kladml/datasets`.
The package imports NumPy alone; tables need the extra `data` (pyarrow and polars), which is imported when one is read.
"""

from kladml.datasets.manifest import FileEntry, Manifest
from kladml.datasets.reference import DatasetReference, looks_like_reference
from kladml.datasets.schema import Column, Schema
from kladml.datasets.store import DatasetStore

__all__ = ["Column", "DatasetReference", "DatasetStore", "FileEntry", "Manifest", "Schema", "looks_like_reference"]
