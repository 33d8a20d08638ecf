"""Run by alembic: applies the migrations on the connection that ``database.upgrade`` hands over."""

from alembic import context

from auricle.store.tables import metadata

# SQLite cannot alter most things in place; a batch copies the table instead.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
