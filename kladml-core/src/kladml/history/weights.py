"""Whether two runs stored the same weights, to the last bit."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.interfaces import RunAddress, StorageInterface

MODEL = "model"

_CHUNK = 1 << 20


def different_weights(
    storage: StorageInterface, bucket: str, one: RunAddress, storage_of_other: StorageInterface, bucket_of_other: str,
    other: RunAddress,
) -> list[str] | None:
    """Return the names of the files of weights that are not the same, or None where a run has none.

    Raises:
        StorageError: A storage fails.
    """  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="kladml-") as folder:
        found = []
        for name, place, where, address in (
            ("one", storage, bucket, one),
            ("other", storage_of_other, bucket_of_other, other),
        ):
            target = Path(folder, name)
            target.mkdir()
            place.download_directory(where, f"{address.path}/{MODEL}", target)
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
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return False
    return False


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _tensors(file: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the name of each tensor with its type, its shape and the SHA-256 of its bytes."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
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
