"""the open orders of an account by a condition of their own

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

NOT_ENDED = sa.text('closed_at IS NULL')
OPEN = sa.text("state = 'planned' OR state = 'sending'")


def upgrade() -> None:
    _make(NOT_ENDED)


def downgrade() -> None:
    _make(OPEN)


def _make(condition: sa.TextClause) -> None:
    op.drop_index('ix_orders_open', table_name='orders')
    op.create_index(
        'ix_orders_open',
        'orders',
        ['account_id'],
        sqlite_where=condition,
        postgresql_where=condition,
    )
