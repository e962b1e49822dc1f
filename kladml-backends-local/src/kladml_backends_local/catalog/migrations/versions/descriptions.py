"""Descriptions of projects, families and experiments, and the numbers that experiments gave before they were deleted.

A migration shows the tables as they were then: it imports nothing from `tables.py`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new; what is there has no description."""
    for table in ("kladml_projects", "kladml_families", "kladml_experiments"):
        op.add_column(table, sa.Column("description", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "kladml_retired_numbers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(100), nullable=False),
        sa.Column("family", sa.String(100), nullable=False),
        sa.Column("experiment", sa.String(100), nullable=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.UniqueConstraint("project", "family", "experiment"),
    )
