"""an index of a customer's own that an account follows in the place of ours

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'direct_sleeve', sa.Column('own_index', sa.Text(), nullable=False, server_default='{}')
    )


def downgrade() -> None:
    op.drop_column('direct_sleeve', 'own_index')
