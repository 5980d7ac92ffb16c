"""positions that customers bring from other firms

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from robo.store.schema import freeze

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('move_in',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('content_mac', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('left_out', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('received_on', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('requested_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('ended_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('admitted_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.CheckConstraint("(state = 'received') = (received_on <> '')", name='ck_move_in_received'),
    sa.CheckConstraint("state IN ('draft', 'requested', 'received', 'refused', 'canceled')", name='ck_move_in_state'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    with op.batch_alter_table('move_in', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_move_in_account_id'), ['account_id'], unique=False)
        batch_op.create_index('ix_move_in_new', ['account_id'], unique=False, sqlite_where=sa.text("state = 'received' AND admitted_at IS NULL"), postgresql_where=sa.text("state = 'received' AND admitted_at IS NULL"))
        batch_op.create_index('ix_move_in_requested', ['id'], unique=False, sqlite_where=sa.text("state = 'requested'"), postgresql_where=sa.text("state = 'requested'"))

    op.create_table('arrival',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('move_in_id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('lot_id', sa.Text(), nullable=False),
    sa.Column('security_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('nanos', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('basis_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('acquired_on', sa.Text(), nullable=False),
    sa.Column('on_date', sa.Text(), nullable=False),
    sa.Column('chain', sa.Text(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('mac', sa.LargeBinary(), nullable=False),
    sa.CheckConstraint('nanos > 0 AND basis_cents >= 0 AND acquired_on <= on_date', name='ck_arrival_size'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['move_in_id'], ['move_in.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('chain', 'seq', name='uq_arrival_chain'),
    sqlite_strict=True
    )
    with op.batch_alter_table('arrival', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_arrival_lot_id'), ['lot_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_arrival_move_in_id'), ['move_in_id'], unique=False)

    op.create_table('move_in_lot',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('move_in_id', sa.Text(), nullable=False),
    sa.Column('place', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('security_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('nanos', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('basis_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('acquired_on', sa.Text(), nullable=False),
    sa.CheckConstraint('nanos > 0 AND basis_cents >= 0', name='ck_move_in_lot_size'),
    sa.ForeignKeyConstraint(['move_in_id'], ['move_in.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    with op.batch_alter_table('move_in_lot', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_move_in_lot_move_in_id'), ['move_in_id'], unique=False)

    freeze(op, 'arrival')


def downgrade() -> None:
    with op.batch_alter_table('move_in_lot', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_move_in_lot_move_in_id'))

    op.drop_table('move_in_lot')
    with op.batch_alter_table('arrival', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_arrival_move_in_id'))
        batch_op.drop_index(batch_op.f('ix_arrival_lot_id'))

    op.drop_table('arrival')
    with op.batch_alter_table('move_in', schema=None) as batch_op:
        batch_op.drop_index('ix_move_in_requested', sqlite_where=sa.text("state = 'requested'"), postgresql_where=sa.text("state = 'requested'"))
        batch_op.drop_index('ix_move_in_new', sqlite_where=sa.text("state = 'received' AND admitted_at IS NULL"), postgresql_where=sa.text("state = 'received' AND admitted_at IS NULL"))
        batch_op.drop_index(batch_op.f('ix_move_in_account_id'))

    op.drop_table('move_in')
