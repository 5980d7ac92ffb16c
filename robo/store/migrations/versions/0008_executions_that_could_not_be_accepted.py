"""executions that could not be accepted, and blocks that a correction may fill beyond their size

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIMITS = (
    ("ck_block_fill_cents", "notional_cents", "executed_cents"),
    ("ck_block_fill_nanos", "nanos", "executed_nanos"),
)


def upgrade() -> None:
    limits("", "2 * ")
    op.create_table(
        "stray",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("busts", sa.Text(), nullable=False),
        sa.Column("security_id", INTEGER, nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("nanos", INTEGER, nullable=False),
        sa.Column("price_micros", INTEGER, nullable=False),
        sa.Column("cents", INTEGER, nullable=False),
        sa.Column("fee_cents", INTEGER, nullable=False),
        sa.Column("executed_at", INTEGER, nullable=False),
        sa.Column("settles_on", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("heard_at", INTEGER, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("closed_at", INTEGER, nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'adopted', 'dismissed')", name="ck_stray_state"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("stray", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stray_client_id"), ["client_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stray_state"), ["state"], unique=False)


def downgrade() -> None:
    op.drop_table("stray")
    limits("2 * ", "")


def limits(before: str, after: str) -> None:
    """Change by what factor a block may be executed beyond its size.

    SQLite has no word for it, and a copy of the table cannot take its place while others point at
    it. Its own procedure for checks, which touches no row: the table's text is written anew, and
    read again under a new version of the schema. Source: sqlite.org/lang_altertable.html, 7.
    """
    if op.get_bind().dialect.name != "sqlite":
        for name, size, executed in LIMITS:
            op.drop_constraint(name, "block", type_="check")
            op.create_check_constraint(
                name, "block", f"{size} IS NULL OR {executed} <= {after}{size}"
            )
        return
    version = int(op.get_bind().exec_driver_sql("PRAGMA schema_version").scalar_one())
    op.execute("PRAGMA writable_schema = ON")
    for _, size, executed in LIMITS:
        op.execute(
            f"UPDATE sqlite_master SET sql = replace(sql, '{executed} <= {before}{size})', "
            f"'{executed} <= {after}{size})') WHERE type = 'table' AND name = 'block'"
        )
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = OFF")
