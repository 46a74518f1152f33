"""attendees: who held a ticket that ended is told, and who has no account is forgotten"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KINDS_BEFORE = (
    "order_paid", "payment_failed", "refund_started", "refund_done", "event_approved", "event_rejected",
    "event_changed", "event_cancelled", "event_reminder", "review_invitation", "transfer_offered", "transfer_accepted",
    "ticket_received", "ticket_reissued", "verify_email", "password_reset", "password_changed", "email_change",
    "email_changed",
)  # fmt: skip


def know_kinds(kinds):
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint("known_notification_kind", "notifications", type_="check")
    op.create_check_constraint("known_notification_kind", "notifications", f"kind IN ({listed})")


def upgrade():
    know_kinds((*KINDS_BEFORE, "ticket_ended"))
    op.add_column("events", sa.Column("attendees_forgotten_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "events_to_forget_idx", "events", ["ends_at", "id"], postgresql_where="attendees_forgotten_at IS NULL"
    )


def downgrade():
    op.drop_index("events_to_forget_idx", "events")
    op.drop_column("events", "attendees_forgotten_at")
    op.execute("DELETE FROM notifications WHERE kind = 'ticket_ended'")
    know_kinds(KINDS_BEFORE)
