"""effects on risk that nobody worked out are unknown, not zero

Revision ID: 0016
Revises: 0015
"""

from alembic import op
import sqlalchemy as sa

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
RISKS = (('trade_effect', ('tracking_error_ppm',)), ('plan_effect', ('before_ppm', 'after_ppm')))
# SQLite makes a table anew for this, and would forget what kind of table it was.
KINDS = {
    'trade_effect': {'sqlite_strict': True, 'sqlite_with_rowid': False},
    'plan_effect': {'sqlite_strict': True},
}
LOSS = 'it was sold at a loss; it may be bought again after 30 days'
LIMIT = 'it may not be traded until the day that your trading limits say'


def upgrade() -> None:
    for table, columns in RISKS:
        with op.batch_alter_table(table, table_kwargs=KINDS[table]) as batch_op:
            for column in columns:
                batch_op.alter_column(column, existing_type=INTEGER, nullable=True)
    # Plans without a risk model wrote zeros that nobody had worked out.
    op.execute(
        "UPDATE trade_effect SET tracking_error_ppm = NULL WHERE order_id IN ("
        " SELECT o.id FROM orders o JOIN plan_effect p ON p.batch_id = o.batch_id"
        " WHERE p.model_id = '')"
    )
    op.execute("UPDATE plan_effect SET before_ppm = NULL, after_ppm = NULL WHERE model_id = ''")
    _reword(LOSS, LIMIT)


def downgrade() -> None:
    _reword(LIMIT, LOSS)
    for table, columns in RISKS:
        for column in columns:
            op.execute(f"UPDATE {table} SET {column} = 0 WHERE {column} IS NULL")
        with op.batch_alter_table(table, table_kwargs=KINDS[table]) as batch_op:
            for column in columns:
                batch_op.alter_column(column, existing_type=INTEGER, nullable=False)


def _reword(before: str, after: str) -> None:
    """Change what a target notes of a name that waits: whose loss it was is nobody else's matter."""
    op.get_bind().execute(
        sa.text(
            "UPDATE target_weight SET note = replace(note, :before, :after)"
            " WHERE note LIKE '%' || :before || '.'"
        ),
        {'before': before, 'after': after},
    )
