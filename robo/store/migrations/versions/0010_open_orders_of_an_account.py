"""the open orders of an account

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

OPEN = sa.text("state = 'planned' OR state = 'sending'")


def upgrade() -> None:
    op.create_index(
        'ix_orders_open', 'orders', ['account_id'], sqlite_where=OPEN, postgresql_where=OPEN
    )


def downgrade() -> None:
    op.drop_index('ix_orders_open', table_name='orders')
