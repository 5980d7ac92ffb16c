"""households, joint owners, tax choices, IRA contributions, trades elsewhere

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

CLOSES = sa.text("kind = 'close'")


def upgrade() -> None:
    op.create_table('household',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('firm_id', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['firm_id'], ['firm.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    op.create_table('household_member',
    sa.Column('household_id', sa.Text(), nullable=False),
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('since_on', sa.Text(), nullable=False),
    sa.Column('joined_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('left_on', sa.Text(), nullable=True),
    sa.Column('left_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.CheckConstraint('(left_at IS NULL) = (left_on IS NULL)', name='ck_household_member_left'),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.ForeignKeyConstraint(['household_id'], ['household.id'], ),
    sa.PrimaryKeyConstraint('household_id', 'customer_id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('household_member', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_household_member_customer_id'), ['customer_id'], unique=False)
        batch_op.create_index('ux_household_member_now', ['customer_id'], unique=True, sqlite_where=sa.text('left_at IS NULL'), postgresql_where=sa.text('left_at IS NULL'))

    op.create_table('household_invitation',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('firm_id', sa.Text(), nullable=False),
    sa.Column('inviter_id', sa.Text(), nullable=False),
    sa.Column('invitee_index', sa.LargeBinary(), nullable=False),
    sa.Column('since_on', sa.Text(), nullable=False),
    sa.Column('sealed_from', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('expires_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('decided_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.CheckConstraint("state IN ('open', 'accepted', 'declined', 'withdrawn')", name='ck_household_invitation_state'),
    sa.ForeignKeyConstraint(['firm_id'], ['firm.id'], ),
    sa.ForeignKeyConstraint(['inviter_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('household_invitation', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_household_invitation_inviter_id'), ['inviter_id'], unique=False)

    op.create_table('joint_proposal',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('household_id', sa.Text(), nullable=False),
    sa.Column('proposer_id', sa.Text(), nullable=False),
    sa.Column('partner_id', sa.Text(), nullable=False),
    sa.Column('basket_id', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('decided_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.CheckConstraint("state IN ('open', 'accepted', 'declined', 'withdrawn')", name='ck_joint_proposal_state'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['household_id'], ['household.id'], ),
    sa.ForeignKeyConstraint(['partner_id'], ['customer.id'], ),
    sa.ForeignKeyConstraint(['proposer_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('joint_proposal', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_joint_proposal_partner_id'), ['partner_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_joint_proposal_proposer_id'), ['proposer_id'], unique=False)

    op.create_table('joint_owner',
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('agreed_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('account_id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('joint_owner', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_joint_owner_customer_id'), ['customer_id'], unique=False)

    op.create_table('tax_choice',
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('number', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('target_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('gain_budget_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('buy_buy_sell', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('elsewhere', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint("(target = 'amount') = (target_cents IS NOT NULL)", name='ck_tax_choice_amount'),
    sa.CheckConstraint("elsewhere IN ('unknown', 'none', 'some')", name='ck_tax_choice_elsewhere'),
    sa.CheckConstraint("mode IN ('harvest', 'neutral', 'realise')", name='ck_tax_choice_mode'),
    sa.CheckConstraint("target IN ('none', 'loss_limit', 'zero', 'zero_bracket', 'amount')", name='ck_tax_choice_target'),
    sa.CheckConstraint('buy_buy_sell IN (0, 1)', name='ck_tax_choice_flag'),
    sa.CheckConstraint('gain_budget_cents IS NULL OR gain_budget_cents >= 0', name='ck_tax_choice_budget'),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('customer_id', 'number'),
    sqlite_strict=True
    )

    op.create_table('ira_allowance',
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('tax_year', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('ira_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('roth_cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint('ira_cents >= 0 AND roth_cents >= 0', name='ck_ira_allowance_cents'),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('customer_id', 'tax_year'),
    sqlite_strict=True
    )

    op.create_table('contribution',
    sa.Column('deposit_id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('tax_year', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint('cents > 0', name='ck_contribution_cents'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.ForeignKeyConstraint(['deposit_id'], ['deposit.id'], ),
    sa.PrimaryKeyConstraint('deposit_id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('contribution', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_contribution_customer_id'), ['customer_id'], unique=False)

    op.create_table('distribution',
    sa.Column('withdrawal_id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('notice', sa.Text(), nullable=False),
    sa.Column('at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('withdrawal_id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('distribution', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_distribution_account_id'), ['account_id'], unique=False)

    op.create_table('outside_account',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('customer_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('sealed_name', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.CheckConstraint("kind IN ('taxable', 'ira')", name='ck_outside_account_kind'),
    sa.CheckConstraint("state IN ('active', 'removed')", name='ck_outside_account_state'),
    sa.ForeignKeyConstraint(['customer_id'], ['customer.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('outside_account', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_outside_account_customer_id'), ['customer_id'], unique=False)

    op.create_table('outside_import',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('content_mac', sa.LargeBinary(), nullable=False),
    sa.Column('rows', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['outside_account.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('outside_import', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_outside_import_account_id'), ['account_id'], unique=False)

    op.create_table('outside_trade',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Text(), nullable=False),
    sa.Column('import_id', sa.Text(), nullable=False),
    sa.Column('place', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('on_date', sa.Text(), nullable=False),
    sa.Column('security_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('nanos', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('cents', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('acquired_on', sa.Text(), nullable=True),
    sa.CheckConstraint("kind IN ('lot', 'buy', 'sell')", name='ck_outside_trade_kind'),
    sa.CheckConstraint('nanos > 0 AND cents >= 0', name='ck_outside_trade_size'),
    sa.ForeignKeyConstraint(['account_id'], ['outside_account.id'], ),
    sa.ForeignKeyConstraint(['import_id'], ['outside_import.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )

    with op.batch_alter_table('outside_trade', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_outside_trade_account_id'), ['account_id'], unique=False)

    # Not in a batch: that would copy the table and lose its triggers.
    op.create_index('ix_lot_event_close', 'lot_event', ['account_id', 'on_date'], unique=False, sqlite_where=CLOSES, postgresql_where=CLOSES)


def downgrade() -> None:
    op.drop_index('ix_lot_event_close', table_name='lot_event')

    with op.batch_alter_table('outside_trade', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_outside_trade_account_id'))

    op.drop_table('outside_trade')

    with op.batch_alter_table('outside_import', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_outside_import_account_id'))

    op.drop_table('outside_import')

    with op.batch_alter_table('outside_account', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_outside_account_customer_id'))

    op.drop_table('outside_account')

    with op.batch_alter_table('distribution', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_distribution_account_id'))

    op.drop_table('distribution')

    with op.batch_alter_table('contribution', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_contribution_customer_id'))

    op.drop_table('contribution')
    op.drop_table('ira_allowance')

    op.drop_table('tax_choice')

    with op.batch_alter_table('joint_owner', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_joint_owner_customer_id'))

    op.drop_table('joint_owner')

    with op.batch_alter_table('joint_proposal', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_joint_proposal_proposer_id'))
        batch_op.drop_index(batch_op.f('ix_joint_proposal_partner_id'))

    op.drop_table('joint_proposal')

    with op.batch_alter_table('household_invitation', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_household_invitation_inviter_id'))

    op.drop_table('household_invitation')

    with op.batch_alter_table('household_member', schema=None) as batch_op:
        batch_op.drop_index('ux_household_member_now', sqlite_where=sa.text('left_at IS NULL'), postgresql_where=sa.text('left_at IS NULL'))
        batch_op.drop_index(batch_op.f('ix_household_member_customer_id'))

    op.drop_table('household_member')

    op.drop_table('household')
