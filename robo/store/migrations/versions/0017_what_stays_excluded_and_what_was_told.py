"""what stays excluded as an account grows, and what it was told of names left alone

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    # In words of SQL: Alembic would write the table anew on SQLite, and not as a strict one.
    op.execute(
        "ALTER TABLE direct_sleeve ADD COLUMN screen TEXT DEFAULT 'stays' NOT NULL "
        "CONSTRAINT ck_direct_screen CHECK (screen IN ('stays', 'goes'))"
    )
    op.create_table('standing_skip',
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('security_id', INTEGER, nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('account_id', 'security_id'),
    sqlite_strict=True,
    sqlite_with_rowid=False
    )


def downgrade() -> None:
    op.drop_table('standing_skip')
    op.execute('ALTER TABLE direct_sleeve DROP COLUMN screen')
