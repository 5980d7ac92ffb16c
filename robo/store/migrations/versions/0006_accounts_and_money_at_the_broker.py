"""accounts that a broker keeps for each customer, and money in and out through it

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('custody',
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('broker', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('broker_account', sa.Text(), nullable=True),
    sa.Column('word', sa.Text(), nullable=False),
    sa.Column('asks', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('unheard', INTEGER, nullable=False),
    sa.Column('closing', INTEGER, nullable=False),
    sa.Column('intended_at', INTEGER, nullable=False),
    sa.Column('told_at', INTEGER, nullable=True),
    sa.Column('look_at', INTEGER, nullable=False),
    sa.Column('changed_at', INTEGER, nullable=False),
    sa.CheckConstraint("state IN ('intended', 'telling', 'incomplete', 'refused', 'submitted', 'action_required', 'review', 'approved', 'active', 'restricted', 'rejected', 'closed', 'unknown')", name='ck_custody_state'),
    sa.CheckConstraint('closing IN (0, 1)', name='ck_custody_closing'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('account_id'),
    sa.UniqueConstraint('broker_account'),
    sqlite_strict=True
    )
    with op.batch_alter_table('custody', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_custody_look_at'), ['look_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_custody_state'), ['state'], unique=False)

    op.create_table('remittance_link',
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('broker_account', sa.Text(), nullable=False),
    sa.Column('relationship_id', sa.Text(), nullable=False),
    sa.Column('usable', INTEGER, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('created_at', INTEGER, nullable=False),
    sa.CheckConstraint("state IN ('active', 'removed')", name='ck_remittance_link_state'),
    sa.CheckConstraint('usable IN (0, 1)', name='ck_remittance_link_usable'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('account_id', 'token'),
    sqlite_strict=True
    )
    with op.batch_alter_table('remittance_link', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_remittance_link_state'), ['state'], unique=False)

    op.create_table('remittance',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('direction', sa.Text(), nullable=False),
    sa.Column('cents', INTEGER, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('broker_account', sa.Text(), nullable=False),
    sa.Column('relationship_id', sa.Text(), nullable=False),
    sa.Column('broker_id', sa.Text(), nullable=True),
    sa.Column('before', sa.Text(), nullable=False),
    sa.Column('candidates', sa.Text(), nullable=False),
    sa.Column('word', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('requested_at', INTEGER, nullable=False),
    sa.Column('told_at', INTEGER, nullable=True),
    sa.Column('done_at', INTEGER, nullable=True),
    sa.Column('look_at', INTEGER, nullable=False),
    sa.Column('changed_at', INTEGER, nullable=False),
    sa.CheckConstraint("direction IN ('pull', 'push')", name='ck_remittance_direction'),
    sa.CheckConstraint("state IN ('intended', 'telling', 'pending', 'done', 'settled', 'refused', 'failed', 'returned', 'ambiguous')", name='ck_remittance_state'),
    sa.CheckConstraint('cents > 0', name='ck_remittance_cents'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('broker_id'),
    sqlite_strict=True
    )
    with op.batch_alter_table('remittance', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_remittance_account_id'), ['account_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_remittance_look_at'), ['look_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_remittance_state'), ['state'], unique=False)

    op.create_table('remittance_news',
    sa.Column('seq', INTEGER, autoincrement=False, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('transfer_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('at', INTEGER, nullable=False),
    sa.CheckConstraint("kind IN ('pending', 'available', 'settled', 'returned')", name='ck_remittance_news_kind'),
    sa.ForeignKeyConstraint(['transfer_id'], ['remittance.id'], ),
    sa.PrimaryKeyConstraint('seq'),
    sa.UniqueConstraint('id'),
    sqlite_strict=True
    )


def downgrade() -> None:
    for name in ('remittance_news', 'remittance', 'remittance_link', 'custody'):
        op.drop_table(name)
