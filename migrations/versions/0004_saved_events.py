"""saved events"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "saved_events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("saved_events_event_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("saved_events_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("saved_events_pkey")),
        sa.UniqueConstraint("user_id", "event_id", name="saved_once"),
    )
    op.create_index(op.f("saved_events_event_id_idx"), "saved_events", ["event_id"], unique=False)


def downgrade():
    op.drop_index(op.f("saved_events_event_id_idx"), table_name="saved_events")
    op.drop_table("saved_events")
