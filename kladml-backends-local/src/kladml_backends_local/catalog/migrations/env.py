"""What Alembic runs to migrate: on the connection of the caller, in the caller's transaction."""

from alembic import context

from kladml_backends_local.catalog.tables import metadata
from kladml_backends_local.catalog.version import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
