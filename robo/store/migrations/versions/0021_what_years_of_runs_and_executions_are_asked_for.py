"""indexes for what is asked of years of runs and executions

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None

RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    op.create_index(
        'ix_job_run_running',
        'job_run',
        ['owner'],
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.create_index('ix_booking_position', 'booking', ['position'])


def downgrade() -> None:
    op.drop_index('ix_booking_position', table_name='booking')
    op.drop_index('ix_job_run_running', table_name='job_run')
