"""The tables of the catalog."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from kladml.interfaces.refusals import LONGEST_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Dialect

NAME_LENGTH = 100
"""Longest name that an address may have."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, kept as UTC without a zone, which every database can, and given back with its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


class Numbers(TypeDecorator["Mapping[str, float]"]):
    """Numbers by name as JSON, to the last bit; NaN and infinities, which JSON lacks, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, float] | None, dialect: Dialect) -> str:
        """Return the JSON text."""
        numbers = {name: float(number) for name, number in (value or {}).items()}
        plain = {name: number if math.isfinite(number) else repr(number) for name, number in numbers.items()}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, float]:
        """Return the numbers."""
        return {name: float(number) for name, number in json.loads(value or "{}").items()}


class Texts(TypeDecorator["Mapping[str, str]"]):
    """Texts by name as JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, str] | None, dialect: Dialect) -> str:
        """Return the JSON text."""
        return json.dumps(dict(value or {}), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, str]:
        """Return the texts."""
        texts: dict[str, str] = json.loads(value or "{}")
        return texts


# Constraints have names, so that a later migration can change them on every database.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

projects = Table(
    "kladml_projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("description", String(LONGEST_DESCRIPTION), nullable=False, server_default=""),
    UniqueConstraint("name"),
)

families = Table(
    "kladml_families",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", Integer, ForeignKey("kladml_projects.id"), nullable=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("description", String(LONGEST_DESCRIPTION), nullable=False, server_default=""),
    UniqueConstraint("project_id", "name"),
)

experiments = Table(
    "kladml_experiments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("family_id", Integer, ForeignKey("kladml_families.id"), nullable=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("description", String(LONGEST_DESCRIPTION), nullable=False, server_default=""),
    # Counted up in the transaction that adds a run: this row is what concurrent processes queue for.
    Column("last_number", Integer, nullable=False),
    UniqueConstraint("family_id", "name"),
)

runs = Table(
    "kladml_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment_id", Integer, ForeignKey("kladml_experiments.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("status", String(20), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("metrics", Numbers, nullable=False),
    Column("backends", Texts, nullable=False),
    UniqueConstraint("experiment_id", "number"),
)

# What an experiment that is made again counts on from, so that no run gets the folder of a deleted one.
retired_numbers = Table(
    "kladml_retired_numbers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(NAME_LENGTH), nullable=False),
    Column("family", String(NAME_LENGTH), nullable=False),
    Column("experiment", String(NAME_LENGTH), nullable=False),
    Column("last_number", Integer, nullable=False),
    UniqueConstraint("project", "family", "experiment"),
)

datasets = Table(
    "kladml_datasets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(NAME_LENGTH), nullable=False),
    # Read for update in the transaction that adds a version: this row is what concurrent processes queue for.
    Column("last_number", Integer, nullable=False),
    UniqueConstraint("name"),
)

# A version that was removed keeps its row, so that its number never means anything else.
dataset_versions = Table(
    "kladml_dataset_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset_id", Integer, ForeignKey("kladml_datasets.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("fingerprint", String(100), nullable=False),
    Column("format", String(50), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("row_count", BigInteger, nullable=True),
    Column("columns", Integer, nullable=False),
    Column("target", Text, nullable=True),
    Column("labels", Integer, nullable=False),
    Column("storage", Text, nullable=True),
    Column("removed_at", UtcDateTime, nullable=True),
    UniqueConstraint("dataset_id", "number"),
)
