"""counters: how often what may not be tried without end has been tried"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "counters",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("purpose", "subject_hash", name=op.f("counters_pkey")),
    )
    op.create_index(op.f("counters_ends_at_idx"), "counters", ["ends_at"], unique=False)


def downgrade():
    op.drop_table("counters")
