"""Arrow files and Arrow streams in files, mapped into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from kladml.datasets.formats import DataFile

_FILE = b"ARROW1"
"""How an Arrow file begins, and a stream does not."""
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def open_arrow(file: DataFile) -> tuple[Any, pa.MemoryMappedFile]:
    """Open what was written as an Arrow file or as a stream; also return the mapping.

    Raises:
        OSError, pyarrow.ArrowException: It is neither.
    """
    import pyarrow as pa
    import pyarrow.ipc as pa_ipc

    source = pa.memory_map(str(file.path))
    is_file = source.read(len(_FILE)) == _FILE
    source.seek(0)
    return (pa_ipc.open_file(source) if is_file else pa_ipc.open_stream(source)), source


def arrow_batches(file: DataFile) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the batches of a file, each with about how many bytes of the file it takes.

    Raises:
        DataError: A stream was cut off between two batches.
        OSError, pyarrow.ArrowException: The file is damaged.
    """
    reader, source = open_arrow(file)
    with reader:
        if hasattr(reader, "num_record_batches"):
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number), source.size() // reader.num_record_batches
            return
        before = 0
        for batch in reader:
            yield batch, source.tell() - before
            before = source.tell()
    _check_end(source, file)


def _check_end(source: pa.MemoryMappedFile, file: DataFile) -> None:
    """Refuse a stream without its end: the reader takes that for one of fewer rows."""
    end = source.tell()
    source.seek(0)
    is_new = source.read(4) == _END_OF_STREAM[:4]  # before Arrow 0.15 there was another mark
    source.seek(max(end - len(_END_OF_STREAM), 0))
    if is_new and source.read(len(_END_OF_STREAM)) != _END_OF_STREAM:
        problem = f"{file.name} is an Arrow stream without its end, and rows may be missing"
        raise DataError(problem, next_step="write it again, and close the writer")
