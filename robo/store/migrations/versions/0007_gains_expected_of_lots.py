"""what a plan expects each lot of a sale to realise

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    with op.batch_alter_table('order_lot', schema=None) as batch_op:
        batch_op.add_column(sa.Column('gain_cents', INTEGER, nullable=True))
    # Of sales that are open now only the plan's sum is known: one of them carries it.
    op.execute(
        "UPDATE order_lot SET gain_cents = ("
        " SELECT p.short_gain_cents + p.long_gain_cents FROM plan_effect p"
        " JOIN orders o ON o.batch_id = p.batch_id WHERE o.id = order_lot.order_id)"
        " WHERE place = 0 AND order_id IN ("
        " SELECT min(o.id) FROM orders o JOIN plan_effect p ON p.batch_id = o.batch_id"
        " WHERE o.side = 'sell' AND o.state IN ('planned', 'sending') GROUP BY o.batch_id)"
    )


def downgrade() -> None:
    with op.batch_alter_table('order_lot', schema=None) as batch_op:
        batch_op.drop_column('gain_cents')
