"""The schema: every table, the migrations, and the triggers that keep chained rows as they are."""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlmodel import Session, SQLModel

from robo.core.errors import ConfigError
from robo.store.chains import ChainTable
from robo.store.database import Database

_NOUNS: Final = (
    "accounts",
    "activities",
    "arrivals",
    "blocks",
    "breaks",
    "comparisons",
    "controls",
    "cursors",
    "fills",
    "chains",
    "credentials",
    "custody",
    "customers",
    "direct",
    "documents",
    "effects",
    "events",
    "firms",
    "inventory",
    "households",
    "jobs",
    "leavers",
    "ledger",
    "lots",
    "models",
    "orders",
    "outside_trades",
    "parked",
    "prices",
    "remittances",
    "scores",
    "standing",
    "strays",
    "tax_profiles",
    "transfers",
    "universe",
)


def metadata() -> MetaData:
    """Return the metadata of every table."""
    for noun in _NOUNS:
        import_module(f"robo.store.{noun}")
    return SQLModel.metadata


def chain_tables() -> tuple[ChainTable, ...]:
    """Return every chained table."""
    found: dict[str, ChainTable] = {}
    for noun in _NOUNS:
        for value in vars(import_module(f"robo.store.{noun}")).values():
            if isinstance(value, ChainTable):
                found[value.name] = value
    return tuple(found[name] for name in sorted(found))


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; no file of its own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def upgrade(db: Database, revision: str = "head") -> None:
    """Bring the schema to a revision in one transaction; a crash leaves the old schema."""
    with db.write() as session:
        command.upgrade(alembic_config(session.connection()), revision)


def downgrade(db: Database, revision: str) -> None:
    """Take the schema back to a revision in one transaction."""
    with db.write() as session:
        command.downgrade(alembic_config(session.connection()), revision)


def require_current(db: Database) -> None:
    """Check that the schema is the one this code was written for.

    Raises:
        ConfigError: If it is older or newer.
    """
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with db.read() as session:
        found = MigrationContext.configure(session.connection()).get_current_revision()
    if found != head:
        message = (
            f"the database has schema {found or 'none'}, this code needs {head}: run `robo migrate`"
        )
        raise ConfigError(message)


def freeze(operations: Any, *tables: str) -> None:
    """Create triggers that refuse to change or remove rows of chained tables, for migrations.

    They stop mistakes; the chains find malice.
    """
    dialect = operations.get_bind().dialect.name
    if dialect != "sqlite":
        operations.execute(
            "CREATE OR REPLACE FUNCTION robo_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION USING MESSAGE = 'append-only: ' || TG_TABLE_NAME; END $$"
        )
    for name in tables:
        if dialect == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                operations.execute(
                    f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
                    f"BEGIN SELECT RAISE(ABORT, 'append-only: {name}'); END"
                )
        else:
            operations.execute(
                f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
                "FOR EACH STATEMENT EXECUTE FUNCTION robo_append_only()"
            )


def unguarded(session: Session) -> list[str]:
    """Return the chained tables whose triggers against changes are gone or switched off."""
    names = [table.name for table in chain_tables()]
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        there = {name for (name,) in found}
        return [n for n in names if not {f"{n}_no_update", f"{n}_no_delete"} <= there]
    found = connection.exec_driver_sql("SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D'")
    there = {name for (name,) in found}
    return [n for n in names if f"{n}_append_only" not in there]
