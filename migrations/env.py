"""Runs the migrations on the app's own engine, inside one transaction."""

from alembic import context
from flask import current_app

database = current_app.extensions["migrate"].db


def run() -> None:
    def skip_empty(_context, _revision, directives):
        if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
            directives[:] = []
            print("There is nothing to change.")  # noqa: T201

    # Migrations may wait for a busy table, and take their time.
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = '30s'; SET statement_timeout = 0")
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            process_revision_directives=skip_empty,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    context.configure(
        url=database.engine.url.render_as_string(hide_password=False),
        target_metadata=database.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
