"""the orders that were never sent, by when they were planned

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

UNSENT = sa.text("block_id IS NULL AND state = 'canceled'")


def upgrade() -> None:
    op.create_index(
        'ix_orders_unsent',
        'orders',
        ['state', 'planned_at', 'code'],
        sqlite_where=UNSENT,
        postgresql_where=UNSENT,
    )


def downgrade() -> None:
    op.drop_index('ix_orders_unsent', table_name='orders')
