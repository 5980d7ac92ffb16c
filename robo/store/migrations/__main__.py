"""Write a migration from what the tables say now: `python -m robo.store.migrations "message"`."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from robo.store.database import connect
from robo.store.schema import alembic_config, upgrade


def main() -> None:
    """Compare the newest schema with the tables, and write what differs as the next revision."""
    with tempfile.TemporaryDirectory() as folder:
        db = connect(f"sqlite:///{Path(folder) / 'schema.db'}")
        versions = Path(__file__).parent / "versions"
        number = len(list(versions.glob("0*.py"))) + 1
        if number > 1:
            upgrade(db)
        with db.write() as session:
            config = alembic_config(session.connection())
            command.revision(config, sys.argv[1], autogenerate=True, rev_id=f"{number:04d}")
        db.close()


if __name__ == "__main__":
    main()
