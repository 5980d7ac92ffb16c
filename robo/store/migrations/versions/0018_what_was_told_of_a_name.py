"""what was told of a name, by kind and day

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        'ix_broker_activity_told', 'broker_activity', ['security_id', 'kind', 'on_date']
    )


def downgrade() -> None:
    op.drop_index('ix_broker_activity_told', table_name='broker_activity')
