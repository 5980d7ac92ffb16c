"""indexes of what is asked for one account at the broker

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

UNKNOWN = sa.text("state = 'unknown'")


def upgrade() -> None:
    op.create_index('ix_block_broker_account', 'block', ['broker_account'])
    op.create_index('ix_remittance_broker_account', 'remittance', ['broker_account'])
    op.create_index(
        'ix_broker_activity_unknown',
        'broker_activity',
        ['id'],
        sqlite_where=UNKNOWN,
        postgresql_where=UNKNOWN,
    )


def downgrade() -> None:
    op.drop_index('ix_broker_activity_unknown', table_name='broker_activity')
    op.drop_index('ix_remittance_broker_account', table_name='remittance')
    op.drop_index('ix_block_broker_account', table_name='block')
