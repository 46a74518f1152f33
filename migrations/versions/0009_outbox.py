"""notifications: what people are told, and what they do not want to hear"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KINDS = (
    "order_paid", "payment_failed", "refund_started", "refund_done", "event_approved", "event_rejected",
    "event_changed", "event_cancelled", "event_reminder", "review_invitation",
)  # fmt: skip


def one_of(name, *values):
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=20)


def upgrade():
    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", one_of("known_notification_kind", *KINDS), nullable=False),
        sa.Column("channel", one_of("known_notification_channel", "email", "sms"), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("state", one_of("known_notification_state", "queued", "sent", "failed", "dropped"), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'queued') = (next_try_at IS NOT NULL)", name=op.f("tried_again_while_queued")),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name=op.f("sent_at_a_moment")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("notifications_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("notifications_pkey")),
        sa.UniqueConstraint("key", name=op.f("notifications_key_key")),
    )
    op.create_index(
        "notifications_to_send_idx", "notifications", ["channel", "next_try_at", "id"], unique=False,
        postgresql_where="state = 'queued'",
    )  # fmt: skip
    for column in ("kind", "state", "user_id", "address"):
        op.create_index(op.f(f"notifications_{column}_id_idx"), "notifications", [column, "id"], unique=False)
    op.add_column(
        "users", sa.Column("muted_notifications", postgresql.ARRAY(sa.Text()), nullable=False, server_default="{}")
    )
    op.alter_column("users", "muted_notifications", server_default=None)
    op.add_column("events", sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("events", sa.Column("reviews_invited_at", sa.DateTime(timezone=True), nullable=True))


def downgrade():
    op.drop_column("events", "reviews_invited_at")
    op.drop_column("events", "reminded_at")
    op.drop_column("users", "muted_notifications")
    op.drop_table("notifications")
