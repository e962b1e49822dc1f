"""Projects, families and experiments as rows, in a transaction that the caller opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, distinct, func, insert, select, update

from kladml.interfaces import LEVELS, CatalogEntry, EntryAddress, ExperimentAddress, Removal, RunAddress
from kladml.interfaces.refusals import not_empty, taken_entry, unknown_entry
from kladml_backends_local.catalog.rows import EXPERIMENTS, LEVEL_TABLES, ensure_row, is_retired
from kladml_backends_local.catalog.tables import experiments, families, projects, retired_numbers, runs
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.engine import Connection

_NAMES = tuple(table.c.name for table in LEVEL_TABLES)
_UPWARDS = (projects, families.join(projects), EXPERIMENTS)
_AT_ONCE = 500
"""How many identifiers one statement names; SQLite and others limit it."""


def find(connection: Connection, level: str, below: EntryAddress | None = None) -> list[CatalogEntry]:
    """Return the entries of a level with what is in them counted, sorted."""
    names = () if below is None else below.names
    depth = LEVELS.index(level) + 1
    # Python sorts: a server's collation would not keep families together with their project.
    return [] if len(names) >= depth else sorted(_find(connection, depth, names), key=lambda entry: entry.address)


def get(connection: Connection, address: EntryAddress) -> CatalogEntry:
    """Return one entry.

    Raises:
        AddressError: There is none.
    """
    found = _find(connection, len(address.names), address.names)
    if not found:
        raise _unknown(connection, address)
    return found[0]


def row_id(connection: Connection, address: EntryAddress) -> int:
    """Return the identifier of an entry's row.

    Raises:
        AddressError: There is none.
    """
    depth = len(address.names)
    table = LEVEL_TABLES[depth - 1]
    found = connection.scalar(select(table.c.id).select_from(_UPWARDS[depth - 1]).where(_named(address.names)))
    if found is None:
        raise _unknown(connection, address)
    return int(found)


def create(connection: Connection, address: EntryAddress, description: str) -> None:
    """Make an entry, and what it stands in where that is new.

    Raises:
        AddressError: It is there already.
    """
    depth = len(address.names)
    table = LEVEL_TABLES[depth - 1]
    query = select(table.c.id).select_from(_UPWARDS[depth - 1]).where(_named(address.names))
    if connection.scalar(query) is not None:
        raise taken_entry(address, OWNER)
    made = ensure_row(connection, address.names)
    connection.execute(update(table).where(table.c.id == made).values(description=description))


def describe(connection: Connection, address: EntryAddress, description: str) -> None:
    """Replace the description of an entry.

    Raises:
        AddressError: There is none.
    """
    table = LEVEL_TABLES[len(address.names) - 1]
    found = row_id(connection, address)
    connection.execute(update(table).where(table.c.id == found).values(description=description))


def inside(connection: Connection, address: EntryAddress) -> Removal:
    """Return what would leave the catalog together with an entry.

    Raises:
        AddressError: There is none.
    """
    row_id(connection, address)
    return _removal(connection, address)


def remove(connection: Connection, address: EntryAddress, *, recursive: bool) -> Removal:
    """Delete an entry with everything in it, and remember how far its experiments counted.

    Raises:
        AddressError: There is none.
        NotEmptyError: Something is inside, and the call is not recursive.
    """
    row_id(connection, address)
    ids = [_locked_ids(connection, depth, address) for depth in range(1, len(LEVELS) + 1)]
    removal = _removal(connection, address)
    if not recursive and not removal.is_empty:
        raise not_empty(removal, OWNER)
    _retire_numbers(connection, address)
    _delete(connection, runs, runs.c.experiment_id, ids[-1])
    for table, found in reversed([*zip(LEVEL_TABLES, ids, strict=True)][len(address.names) - 1 :]):
        _delete(connection, table, table.c.id, found)
    return removal


def _find(connection: Connection, depth: int, names: Sequence[str]) -> list[CatalogEntry]:
    table = LEVEL_TABLES[depth - 1]
    of_runs = (
        select(runs.c.experiment_id, func.count().label("count"), func.max(runs.c.started_at).label("last"))
        .group_by(runs.c.experiment_id)
        .subquery()
    )
    below = projects.outerjoin(families).outerjoin(experiments)
    below = below.outerjoin(of_runs, of_runs.c.experiment_id == experiments.c.id)
    own = (*_NAMES[:depth], table.c.description, table.c.created_at)
    query = (
        select(
            *own,
            func.count(distinct(families.c.id)),
            func.count(distinct(experiments.c.id)),
            func.coalesce(func.sum(of_runs.c.count), 0),
            func.max(of_runs.c.last),
        )
        .select_from(below)
        .where(table.c.id.is_not(None), _named(names))
        .group_by(table.c.id, *own)
    )
    return [_entry(row, depth) for row in connection.execute(query)]


def _entry(row: Sequence[Any], depth: int) -> CatalogEntry:
    names, (description, created_at, *counts, last) = row[:depth], row[depth:]
    inner_families, inner_experiments, inner_runs = map(int, counts)  # a server may sum to a decimal number
    return CatalogEntry(
        EntryAddress(tuple(names)),
        description,
        created_at,
        inner_families if depth == 1 else 0,
        inner_experiments if depth < len(LEVELS) else 0,
        inner_runs,
        last,
    )


def _removal(connection: Connection, address: EntryAddress) -> Removal:
    below: list[EntryAddress] = []
    for depth in range(len(address.names) + 1, len(LEVELS) + 1):
        query = select(*_NAMES[:depth]).select_from(_UPWARDS[depth - 1]).where(_named(address.names))
        below += [EntryAddress(tuple(row)) for row in connection.execute(query)]
    query = select(*_NAMES, runs.c.number).select_from(runs.join(EXPERIMENTS)).where(_named(address.names))
    known: dict[tuple[str, ...], ExperimentAddress] = {}
    inner_runs = []
    for *names, number in connection.execute(query.order_by(runs.c.id)):
        experiment = known.setdefault(tuple(names), ExperimentAddress(*names))
        inner_runs.append(RunAddress(experiment, str(number)))
    return Removal(address, tuple(sorted(below)), tuple(inner_runs))


def _locked_ids(connection: Connection, depth: int, address: EntryAddress) -> list[int]:
    """Return the rows of a level that stand at or below an address, which a server keeps from changing from now on.

    Levels are locked from the top down, as those who make entries and runs lock them.
    """
    if depth < len(address.names):
        return []
    table = LEVEL_TABLES[depth - 1]
    query = select(table.c.id).select_from(_UPWARDS[depth - 1]).where(_named(address.names)).order_by(table.c.id)
    return [*connection.scalars(query.with_for_update(of=table))]


def _retire_numbers(connection: Connection, address: EntryAddress) -> None:
    query = select(*_NAMES, experiments.c.last_number).select_from(EXPERIMENTS).where(_named(address.names))
    for *names, last_number in connection.execute(query).all():
        connection.execute(delete(retired_numbers).where(is_retired(tuple(names))))
        if last_number:
            project, family, experiment = names
            retired = {"project": project, "family": family, "experiment": experiment, "last_number": last_number}
            connection.execute(insert(retired_numbers).values(retired))


def _delete(connection: Connection, table: Table, column: ColumnElement[int], ids: Sequence[int]) -> None:
    for start in range(0, len(ids), _AT_ONCE):
        connection.execute(delete(table).where(column.in_(ids[start : start + _AT_ONCE])))


def _named(names: Sequence[str]) -> ColumnElement[bool]:
    return and_(True, *(column == name for column, name in zip(_NAMES, names, strict=False)))  # noqa: FBT003 - SQL's


def _unknown(connection: Connection, address: EntryAddress) -> Exception:
    depth = len(address.names)
    rows = connection.execute(select(*_NAMES[:depth]).select_from(_UPWARDS[depth - 1]))
    return unknown_entry(address, [EntryAddress(tuple(row)) for row in rows], OWNER)
