"""brokers: controls, breaks, inventory

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from robo.store.schema import freeze

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kill_switch",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("stopped", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "changed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.CheckConstraint("stopped IN (0, 1)", name="ck_kill_switch_stopped"),
        sa.PrimaryKeyConstraint("scope"),
        sqlite_strict=True,
    )
    op.create_table(
        "tradability",
        sa.Column(
            "security_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("tradable", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "fractionable", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("seen_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint(
            "tradable IN (0, 1) AND fractionable IN (0, 1)", name="ck_tradability_flags"
        ),
        sa.PrimaryKeyConstraint("security_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "broker_activity",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("broker_account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "security_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("on_date", sa.Text(), nullable=False),
        sa.Column("cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint(
            "state IN ('booked', 'outside', 'unknown')", name="ck_broker_activity_state"
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_broker_activity_broker_account", "broker_activity", ["broker_account"], unique=False
    )
    op.create_table(
        "inventory",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column(
            "security_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("nanos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "fee_cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("side IN ('buy', 'sell')", name="ck_inventory_side"),
        sa.CheckConstraint(
            "why IN ('whole_share', 'late_fill', 'bust', 'excess')", name="ck_inventory_why"
        ),
        sa.CheckConstraint(
            "nanos >= 0 AND cents >= 0 AND fee_cents >= 0", name="ck_inventory_size"
        ),
        sa.ForeignKeyConstraint(
            ["firm_id"],
            ["firm.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "seq", name="uq_inventory_chain"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("inventory", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_inventory_execution_id"), ["execution_id"], unique=False
        )

    op.create_table(
        "broker_account",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column(
            "opened_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("reference"),
        sqlite_strict=True,
    )
    op.create_table(
        "bust",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("nanos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "fee_cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "busted_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("nanos > 0 AND cents >= 0 AND fee_cents >= 0", name="ck_bust_size"),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["execution.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "seq", name="uq_bust_chain"),
        sa.UniqueConstraint("execution_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "recon_break",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("firm_id", sa.Text(), nullable=False),
        sa.Column("broker_account", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column(
            "security_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("ours", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("theirs", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("repair", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("blocks", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("found_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("seen_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("closed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "category IN ('timing', 'corporate_action', 'missing_execution', 'unknown_activity', 'real')",
            name="ck_recon_break_category",
        ),
        sa.CheckConstraint(
            "state IN ('open', 'repaired', 'gone', 'cleared')", name="ck_recon_break_state"
        ),
        sa.CheckConstraint(
            "subject IN ('position', 'cash', 'order', 'execution', 'activity', 'lot')",
            name="ck_recon_break_subject",
        ),
        sa.CheckConstraint("blocks IN (0, 1)", name="ck_recon_break_blocks"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["firm_id"],
            ["firm.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("recon_break", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recon_break_state"), ["state"], unique=False)

    op.create_table(
        "undoing",
        sa.Column("bust_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'done')", name="ck_undoing_state"),
        sa.ForeignKeyConstraint(
            ["bust_id"],
            ["bust.id"],
        ),
        sa.PrimaryKeyConstraint("bust_id"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("undoing", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_undoing_state"), ["state"], unique=False)

    op.create_table(
        "undone",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("fill_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("bust_id", sa.Text(), nullable=False),
        sa.Column("nanos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "fee_cents", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("nanos >= 0 AND cents >= 0 AND fee_cents >= 0", name="ck_undone_size"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["bust_id"],
            ["bust.id"],
        ),
        sa.ForeignKeyConstraint(
            ["fill_id"],
            ["fill.id"],
        ),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "seq", name="uq_undone_chain"),
        sa.UniqueConstraint("fill_id"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("undone", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_undone_order_id"), ["order_id"], unique=False)

    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("told_at", "asks", "asked_at"):
        op.add_column("block", sa.Column(name, whole, nullable=False, server_default="0"))
    op.create_index("ix_block_created_at", "block", ["created_at"], unique=False)
    op.add_column("firm", sa.Column("principal", whole, nullable=False, server_default="0"))
    op.add_column(
        "orders", sa.Column("capacity", sa.Text(), nullable=False, server_default="agency")
    )
    # What corporate actions brought before: the cash of each shared account is known from here on.
    op.execute(
        "INSERT INTO broker_activity "
        "(id, broker_account, kind, security_id, on_date, cents, state, seen_at) "
        "SELECT 'before/' || a.firm_id, 'omnibus/' || a.firm_id, 'before', 0, '', sum(t.amount), "
        "'booked', 0 FROM transfer AS t JOIN account AS a ON a.id = t.chain "
        "WHERE t.kind IN ('dividend', 'merger') GROUP BY a.firm_id"
    )
    freeze(op, "bust", "inventory", "undone")


def downgrade() -> None:
    op.drop_index("ix_block_created_at", table_name="block")
    # Not in batch mode: that would copy the table, triggers and foreign keys and all.
    for table, name in (
        ("orders", "capacity"),
        ("firm", "principal"),
        ("block", "asked_at"),
        ("block", "asks"),
        ("block", "told_at"),
    ):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    with op.batch_alter_table("undone", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_undone_order_id"))

    op.drop_table("undone")
    with op.batch_alter_table("undoing", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_undoing_state"))

    op.drop_table("undoing")
    with op.batch_alter_table("recon_break", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recon_break_state"))

    op.drop_table("recon_break")
    op.drop_table("bust")
    op.drop_table("broker_account")
    with op.batch_alter_table("inventory", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_inventory_execution_id"))

    op.drop_table("inventory")
    op.drop_table("tradability")
    op.drop_table("broker_activity")
    op.drop_table("kill_switch")
