"""Versions of data sets as rows, in a transaction that the caller opens."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import and_, insert, select, update

from kladml.interfaces import CatalogDataset
from kladml.interfaces.dataset_numbers import other_content, unknown_dataset
from kladml_backends_local.catalog.tables import dataset_versions, datasets
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

_COLUMN_OF = {"name": datasets.c.name, "rows": dataset_versions.c.row_count}
_FIELDS = [field.name for field in fields(CatalogDataset)]
_COLUMNS = [_COLUMN_OF[name] if name in _COLUMN_OF else dataset_versions.c[name] for name in _FIELDS]
_THERE = dataset_versions.c.removed_at.is_(None)


def add(connection: Connection, version: CatalogDataset) -> tuple[CatalogDataset, bool]:
    """Give a version the number of its content, or the next one."""
    dataset_id, last = _locked(connection, version.name)
    known = find(connection, and_(_named(version.name), dataset_versions.c.number >= version.number))
    same = [each for each in known if each.is_content_of(version)]
    if same:
        return same[-1], False
    numbered = replace(version, number=max(last + 1, version.number))
    _insert(connection, dataset_id, numbered)
    return numbered, True


def note(connection: Connection, version: CatalogDataset) -> CatalogDataset:
    """Keep a version under its number.

    Raises:
        DataError: The number was given to another content.
    """
    dataset_id, last = _locked(connection, version.name)
    this = _is(version.name, version.number)
    known = next(iter(find(connection, this, removed=True)), None)
    if known is None:
        _insert(connection, dataset_id, version, last)
        return version
    if not known.is_content_of(version):
        raise other_content(version, known, OWNER)
    noted = replace(known, storage=version.storage or known.storage)
    row_id = _row_id(connection, this)
    values = {"storage": noted.storage, "removed_at": None}
    connection.execute(update(dataset_versions).where(dataset_versions.c.id == row_id).values(values))
    return noted


def remove(connection: Connection, name: str, number: int) -> CatalogDataset:
    """Mark a version as removed.

    Raises:
        DataError: There is none.
    """
    _locked(connection, name)
    this = and_(_is(name, number), _THERE)
    known = next(iter(find(connection, this)), None)
    if known is None:
        raise unknown_dataset(name, number, OWNER)
    gone = update(dataset_versions).where(dataset_versions.c.id == _row_id(connection, this))
    connection.execute(gone.values(removed_at=datetime.now(UTC)))
    return known


def of_name(connection: Connection, name: str | None) -> list[CatalogDataset]:
    """Return the versions of a data set, or of all, by name and number."""
    found = find(connection, datasets.c.id.is_not(None) if name is None else _named(name))
    # Python sorts: a server's collation would order names in another way than a workspace does.
    return sorted(found, key=lambda version: (version.name, version.number))


def find(connection: Connection, condition: ColumnElement[bool], *, removed: bool = False) -> list[CatalogDataset]:
    """Return the versions that meet a condition, by number."""
    query = select(*_COLUMNS).select_from(dataset_versions.join(datasets)).where(condition)
    rows = connection.execute((query if removed else query.where(_THERE)).order_by(dataset_versions.c.number))
    return [CatalogDataset(*row) for row in rows]


def _locked(connection: Connection, name: str) -> tuple[int, int]:
    """Return the identifier of a data set's row, which is made where it is new, and the last number.

    A server keeps the row from others until the end of the transaction; SQLite has one writer anyhow.
    """
    row = connection.execute(select(datasets).where(datasets.c.name == name).with_for_update()).first()
    if row is not None:
        return int(row.id), int(row.last_number)
    made = connection.execute(insert(datasets).values(name=name, last_number=0)).inserted_primary_key
    return cast("tuple[int]", made)[0], 0


def _insert(connection: Connection, dataset_id: int, version: CatalogDataset, last: int = 0) -> None:
    values: dict[str, Any] = {
        column.name: getattr(version, field) for field, column in zip(_FIELDS, _COLUMNS, strict=True) if field != "name"
    }
    connection.execute(insert(dataset_versions).values(dataset_id=dataset_id, **values))
    counted = update(datasets).where(datasets.c.id == dataset_id).values(last_number=max(last, version.number))
    connection.execute(counted)


def _row_id(connection: Connection, condition: ColumnElement[bool]) -> int:
    query = select(dataset_versions.c.id).select_from(dataset_versions.join(datasets)).where(condition)
    return int(connection.execute(query).scalar_one())


def _named(name: str) -> ColumnElement[bool]:
    return datasets.c.name == name


def _is(name: str, number: int) -> ColumnElement[bool]:
    return and_(_named(name), dataset_versions.c.number == number)
