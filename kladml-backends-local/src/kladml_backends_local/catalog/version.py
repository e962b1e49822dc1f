"""The version of the catalog's tables, and where it is noted."""

VERSION_TABLE = "kladml_catalog_version"
"""Where Alembic keeps the revision; the name leaves room for other users of Alembic in the same database."""

HEAD = "0003"
"""The revision of `tables.py`: the newest migration."""
