"""Whether two runs stored the same weights, to the last bit."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.files.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.interfaces import RunAddress, StorageInterface

MODEL = "model"


Stored = tuple["StorageInterface", str, "RunAddress"]
"""Where the files of a run are: the storage, the bucket, and the run."""


def different_weights(one: Stored, other: Stored, state: Path | None = None) -> list[str] | None:
    """Return the names of the files of weights that two runs do not have in common, or None where a run has none.

    Args:
        one: One of them.
        other: The other.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.

    Raises:
        StorageError: A storage fails.
    """
    with scratch_folder(state) as folder:
        found = []
        for name, (storage, bucket, address) in (("one", one), ("other", other)):
            target = Path(folder, name)
            target.mkdir()
            storage.download_directory(bucket, f"{address.path}/{MODEL}", target)
            found.append({path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()})
        if not all(found):
            return None
        names = sorted({*found[0], *found[1]})
        return [
            name
            for name in names
            if name not in found[0] or name not in found[1] or not same_content(found[0][name], found[1][name])
        ]


def same_content(one: Path, other: Path) -> bool:
    """Tell whether two files hold the same, to the last bit.

    Of safetensors the order of what describes the file does not count, and of a zip file not when it was packed.
    """
    if sha256_of(one) == sha256_of(other):
        return True
    try:
        if one.suffix == ".safetensors":
            return dict(_tensors(one)) == dict(_tensors(other))
        if zipfile.is_zipfile(one) and zipfile.is_zipfile(other):
            return _packed(one) == _packed(other)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile):
        return False  # one is damaged
    return False


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tensors(file: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the name of each tensor with its type, its shape and the SHA-256 of its bytes."""
    with file.open("rb") as stream:
        length = min(int.from_bytes(stream.read(8), "little"), file.stat().st_size)
        for name, entry in json.loads(stream.read(length)).items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            stream.seek(8 + length + start)
            content = hashlib.sha256(stream.read(end - start)).hexdigest()
            yield name, (entry["dtype"], str(entry["shape"]), content)


def _packed(file: Path) -> dict[str, tuple[int, str]]:
    with zipfile.ZipFile(file) as archive:
        return {
            name: (len(content := archive.read(name)), hashlib.sha256(content).hexdigest())
            for name in archive.namelist()
        }
