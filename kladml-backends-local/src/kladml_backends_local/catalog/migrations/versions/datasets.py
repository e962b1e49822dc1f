"""Data sets and their versions.

A migration shows the tables as they were then: it imports nothing from `tables.py`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; there are no data sets in them yet, 'kladml data sync' notes those of a workspace."""
    op.create_table(
        "kladml_datasets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "kladml_dataset_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("dataset_id", sa.Integer, sa.ForeignKey("kladml_datasets.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(100), nullable=False),
        sa.Column("format", sa.String(50), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=True),
        sa.Column("columns", sa.Integer, nullable=False),
        sa.Column("target", sa.Text, nullable=True),
        sa.Column("labels", sa.Integer, nullable=False),
        sa.Column("storage", sa.Text, nullable=True),
        sa.Column("removed_at", sa.DateTime, nullable=True),
        sa.UniqueConstraint("dataset_id", "number"),
    )
