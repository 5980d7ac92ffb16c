"""direct sleeves and effects of trades

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('risk_model',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('on_date', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    with op.batch_alter_table('risk_model', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_risk_model_on_date'), ['on_date'], unique=False)
    op.create_table('plan_effect',
    sa.Column('batch_id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('before_ppm', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('after_ppm', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('tax_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('cost_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('short_gain_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('long_gain_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('model_id', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('batch_id'),
    sqlite_strict=True
    )
    with op.batch_alter_table('plan_effect', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_plan_effect_account_id'), ['account_id'], unique=False)
    op.create_table('direct_sleeve',
    sa.Column('sleeve_id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('ladder', sa.Text(), nullable=False),
    sa.Column('names_max', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('theme', sa.Text(), nullable=False),
    sa.Column('stays_ppm', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('tilts', sa.Text(), nullable=False),
    sa.Column('names', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('carried_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('withdrawn_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('reviewed_on', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint("theme IN ('fades', 'stays')", name='ck_direct_theme'),
    sa.CheckConstraint('carried_cents >= 0 AND withdrawn_cents >= 0', name='ck_direct_amounts'),
    sa.CheckConstraint('names > 0 AND names_max >= 0', name='ck_direct_names'),
    sa.CheckConstraint('stays_ppm >= 0 AND stays_ppm <= 1000000', name='ck_direct_stays'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['sleeve_id'], ['sleeve.id'], ),
    sa.PrimaryKeyConstraint('sleeve_id'),
    sa.UniqueConstraint('account_id'),
    sqlite_strict=True
    )
    op.create_table('order_lot',
    sa.Column('order_id', sa.Text(), nullable=False),
    sa.Column('lot_id', sa.Text(), nullable=False),
    sa.Column('place', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('nanos', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint('nanos > 0', name='ck_order_lot_nanos'),
    sa.ForeignKeyConstraint(['lot_id'], ['lot.id'], ),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], ),
    sa.PrimaryKeyConstraint('order_id', 'lot_id'),
    sqlite_strict=True,
    sqlite_with_rowid=False
    )
    op.create_table('trade_effect',
    sa.Column('order_id', sa.Text(), nullable=False),
    sa.Column('tax_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('cost_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('tracking_error_ppm', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], ),
    sa.PrimaryKeyConstraint('order_id'),
    sqlite_strict=True,
    sqlite_with_rowid=False
    )


def downgrade() -> None:
    op.drop_table('trade_effect')
    op.drop_table('order_lot')
    op.drop_table('direct_sleeve')
    with op.batch_alter_table('plan_effect', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_plan_effect_account_id'))
    op.drop_table('plan_effect')
    with op.batch_alter_table('risk_model', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_risk_model_on_date'))
    op.drop_table('risk_model')
