"""when the broker and the books last agreed in an account

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('comparison',
    sa.Column('broker_account', sa.Text(), nullable=False),
    sa.Column('agreed_at', INTEGER, nullable=False),
    sa.Column('books', sa.Text(), nullable=False),
    sa.CheckConstraint('agreed_at > 0', name='ck_comparison_agreed_at'),
    sa.PrimaryKeyConstraint('broker_account'),
    sqlite_strict=True
    )


def downgrade() -> None:
    op.drop_table('comparison')
