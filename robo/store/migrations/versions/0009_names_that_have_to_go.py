"""names that accounts should part with because of scores

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('leaver',
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('security_id', INTEGER, nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('since', sa.Text(), nullable=False),
    sa.Column('told', sa.Text(), nullable=False),
    sa.Column('times', INTEGER, nullable=False),
    sa.CheckConstraint("source IN ('screen', 'activity')", name='ck_leaver_source'),
    sa.CheckConstraint('times >= 0', name='ck_leaver_times'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('account_id', 'security_id'),
    sqlite_strict=True,
    sqlite_with_rowid=False
    )


def downgrade() -> None:
    op.drop_table('leaver')
