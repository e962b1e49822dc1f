"""Tables in CSV, Parquet and Arrow files, read in batches of rows with pyarrow."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from kladml.datasets.arrow_files import arrow_batches, open_arrow
from kladml.datasets.csv_blocks import BrokenRowError, csv_blocks
from kladml.datasets.csv_files import CSV_NULLS, csv_error, csv_header
from kladml.datasets.formats import format_of
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    import pyarrow as pa

    from kladml.datasets.formats import DataFile

_CSV_BLOCK = 8 << 20
_ROWS = 65_536
"""Rows of a batch of a Parquet file."""


class Table:
    """The rows of one file or of several with the same columns, one after another.

    Args:
        files: The files.
        types: Type of each column of CSV files, as `types` gives them; found out by reading them where there are none.
        tell: Is told the bytes of CSV files as they are read to find out the types.

    Raises:
        DataError: The files cannot be read, or do not have the same columns, or pyarrow is not installed.
    """

    def __init__(
        self,
        files: Sequence[DataFile],
        types: Mapping[str, str] | None = None,
        tell: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.files = list(files)
        self._arrow = require("pyarrow")
        self._types: dict[str, Any] = {}
        if _csv_of(self.files):
            alias = self._arrow.type_for_alias
            self._types = {name: alias(kind) for name, kind in types.items()} if types else self._csv_types(tell)
        self.schema: pa.Schema = self._schema(self.files[0])
        for file in self.files[1:]:
            self._check_same(file)

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, as text."""
        return {field.name: str(field.type) for field in self.schema}

    def batches(
        self, columns: Sequence[str] | None = None, tell: Callable[[int], object] = lambda _: None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches, in order.

        Args:
            columns: The columns to read; all by default.
            tell: Is told the bytes of the files as they are read.

        Raises:
            DataError: A file is damaged; of a CSV file it says the line and the column.
        """
        for file in self.files:
            left = size_of([file])
            for batch, count in self._batches(file):
                yield batch if columns is None else batch.select(list(columns))
                tell(min(count, left))
                left -= min(count, left)
            tell(left)

    def _schema(self, file: DataFile) -> pa.Schema:
        """Return the columns of a file."""
        try:
            match format_of(file.name):
                case "csv":
                    fields = [(name, self._types[name]) for name in csv_header(file)]
                    return self._arrow.schema(fields)
                case "parquet":
                    import pyarrow.parquet as pq

                    schema: pa.Schema = pq.read_schema(file.path)
                case _:
                    with open_arrow(file)[0] as reader:
                        schema = reader.schema
        except KeyError as error:
            problem = f"{file.name} has a column {error} that {self.files[0].name} has not"
            raise DataError(problem, next_step="give all files the same columns") from None
        except (OSError, self._arrow.ArrowException) as error:
            raise _unreadable(file, error) from error
        names = schema.names
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            problem = f"{file.name} has two columns '{double}'"
            raise DataError(problem, next_step="rename one of them")
        return schema

    def _csv_types(self, tell: Callable[[int], object]) -> dict[str, Any]:
        """Find out the types of the columns of CSV files; every row counts, not only the first ones."""
        found: dict[str, Any] = {}
        names: dict[str, Any] = {}
        for file in _csv_of(self.files):
            own = csv_header(file)
            names |= dict.fromkeys(own, self._arrow.string())
            # Numbers instead of names: polars leaves quotes in a name doubled, as the file has them.
            places = {str(place): name for place, name in enumerate(own)}
            try:
                left = size_of([file])
                for block in csv_blocks(file.path, list(places)):
                    self._widen(found, block, places)
                    tell(min(len(block), left))
                    left -= min(len(block), left)
                tell(left)
            except (
                require("polars").exceptions.PolarsError,
                self._arrow.ArrowException,
                BrokenRowError,
                OSError,
            ) as error:
                raise csv_error(file, {}, error) from error
        return names | found

    def _widen(self, found: dict[str, Any], block: bytes, places: Mapping[str, str]) -> None:
        """Make the types of columns wide enough for a block; a column without a value there tells nothing."""
        frames, text = require("polars"), self._arrow.string()
        given: dict[str, Any] = {"null_values": list(CSV_NULLS)}
        schema = frames.scan_csv(BytesIO(block), infer_schema_length=None, **given).collect_schema()
        new = {place: self._of_polars(frames, dtype) for place, dtype in schema.items() if place in places}
        doubted = [place for place, type_ in new.items() if type_ == text and found.get(places[place]) != text]
        if doubted:
            # What is empty counts as text there.
            cells = self._cells(block, doubted)
            for place in doubted:
                if cells[place].null_count == len(cells):
                    del new[place]
        for place, type_ in new.items():
            found[places[place]] = self._wider(found.get(places[place]), type_)

    def _cells(self, block: bytes, places: Sequence[str]) -> pa.Table:
        """Return columns of a block as text, read as they will be: polars fails at some quotes within a cell."""
        import pyarrow.csv as pa_csv

        convert = pa_csv.ConvertOptions(
            include_columns=list(places),
            column_types=dict.fromkeys(places, self._arrow.string()),
            null_values=list(CSV_NULLS),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        parse = pa_csv.ParseOptions(newlines_in_values=True)
        read = pa_csv.ReadOptions(block_size=len(block), use_threads=False)
        return pa_csv.read_csv(BytesIO(block), read_options=read, parse_options=parse, convert_options=convert)

    def _of_polars(self, frames: ModuleType, dtype: Any) -> pa.DataType:
        if dtype == frames.Boolean:
            return self._arrow.bool_()
        if dtype.is_integer():
            return self._arrow.int64()
        return self._arrow.float64() if dtype.is_float() else self._arrow.string()

    def _wider(self, one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
        """Return the type that holds the values of both."""
        if one is None or one == other:
            return other
        numbers = (self._arrow.int64(), self._arrow.float64())
        return numbers[1] if one in numbers and other in numbers else self._arrow.string()

    def _check_same(self, file: DataFile) -> None:
        schema = self._schema(file)
        for field in self.schema:
            if field.name not in schema.names or schema.field(field.name).type != field.type:
                has = (
                    f"has it as {schema.field(field.name).type}" if field.name in schema.names else "has no such column"
                )
                first = self.files[0].name
                problem = f"{first} has the column '{field.name}' as {field.type}, and {file.name} {has}"
                raise DataError(problem, next_step="give all files the same columns, or add them as two data sets")
        if schema.names != self.schema.names:
            problem = f"{file.name} does not have the columns of {self.files[0].name} in the same order"
            raise DataError(problem, next_step="give all files the same columns, or add them as two data sets")

    def _batches(self, file: DataFile) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield the rows of a file in batches, each with how many bytes of the file it about is."""
        kind = format_of(file.name)
        try:
            if kind == "csv":
                for batch in self._csv_batches(file):
                    yield batch, _CSV_BLOCK
            elif kind == "parquet":
                import pyarrow.parquet as pq

                with pq.ParquetFile(file.path) as reader:
                    size, rows = size_of([file]), reader.metadata.num_rows
                    for batch in reader.iter_batches(_ROWS):
                        yield batch, size * batch.num_rows // max(rows, 1)
            else:
                yield from arrow_batches(file)
        except (OSError, self._arrow.ArrowException) as error:
            if kind == "csv":
                raise csv_error(file, {name: str(dtype) for name, dtype in self._types.items()}, error) from error
            raise _unreadable(file, error) from error

    def _csv_batches(self, file: DataFile) -> Iterator[pa.RecordBatch]:
        import pyarrow.csv as pa_csv

        convert = pa_csv.ConvertOptions(
            column_types=self._types,
            null_values=list(CSV_NULLS),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        parse = pa_csv.ParseOptions(newlines_in_values=True)
        read = pa_csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False)
        with pa_csv.open_csv(file.path, read_options=read, parse_options=parse, convert_options=convert) as reader:
            yield from reader


def size_of(files: Sequence[DataFile]) -> int:
    """Return how many bytes files have together."""
    return sum(file.path.stat().st_size for file in files)


def bytes_to_describe(files: Sequence[DataFile]) -> int:
    """Return how many bytes are read of tables whose types are not known: all, and those of CSV files twice."""
    return size_of(files) + size_of(_csv_of(files))


def _csv_of(files: Sequence[DataFile]) -> list[DataFile]:
    return [file for file in files if format_of(file.name) == "csv"]


def require(name: str) -> Any:
    """Import a library that tables need.

    Raises:
        DataError: It is not installed.
    """
    from importlib import import_module

    try:
        if name == "pyarrow":
            import_module("pyarrow.ipc")
        return import_module(name)
    except ImportError as error:
        problem = f"tables need {name}, which is not installed"
        raise DataError(problem, next_step="pip install 'kladml-core[data]'") from error


def _unreadable(file: DataFile, error: Exception) -> DataError:
    why = " ".join(str(error).split())
    if format_of(file.name) == "arrow":
        problem = f"{file.name} cannot be read as an Arrow file or stream, of which it may be a part: {why}"
        return DataError(problem, next_step="write it again, and close the writer")
    return DataError(f"{file.name} cannot be read: {why}", next_step="check the file")
