"""The schema's migrations, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import DatabaseError

from robo.core.errors import ConfigError
from robo.store.chains import Link, append
from robo.store.database import Database, connect
from robo.store.firms import AUDIT
from robo.store.schema import (
    downgrade,
    metadata,
    require_current,
    unguarded,
    upgrade,
)


def test_an_upgraded_database_is_what_the_tables_say(any_database: Database) -> None:
    with any_database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})

        differences = compare_metadata(context, metadata())

    assert differences == []


def test_a_downgrade_removes_everything_and_an_upgrade_brings_it_back(
    any_database: Database,
) -> None:
    tables = set(inspect(any_database.engine).get_table_names())

    downgrade(any_database, "base")
    left = set(inspect(any_database.engine).get_table_names())
    upgrade(any_database)

    assert left == {"alembic_version"}
    assert set(inspect(any_database.engine).get_table_names()) == tables
    require_current(any_database)


def test_a_database_of_another_schema_is_refused(any_database_url: str) -> None:
    db = connect(any_database_url)

    with pytest.raises(ConfigError, match="robo migrate"):
        require_current(db)

    db.close()


def test_chained_rows_cannot_be_changed_or_removed(any_database: Database) -> None:
    with any_database.write() as session:
        append(session, bytes(32), [Link(AUDIT, "frm_1", ("aud_1", "op", "x", "y", "0", 1))], 1)

    for statement in ("UPDATE audit SET actor = 'else'", "DELETE FROM audit"):
        with pytest.raises(DatabaseError, match="append-only"), any_database.write() as session:
            session.connection().exec_driver_sql(statement)


def test_a_missing_trigger_is_told(any_database: Database) -> None:
    with any_database.write() as session:
        sql = (
            "DROP TRIGGER fill_no_delete"
            if any_database.is_sqlite
            else "ALTER TABLE fill DISABLE TRIGGER fill_append_only"
        )
        session.connection().exec_driver_sql(sql)

    with any_database.read() as session:
        assert unguarded(session) == ["fill"]
