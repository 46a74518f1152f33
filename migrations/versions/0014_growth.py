"""growth: what is asked for again and again is found without reading a whole table"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OPEN = "status IN ('queued', 'submitting', 'prompted', 'unknown')"
ENDED_AT = "COALESCE(voided_at, taken_back_at)"
#: Name, table, columns, of which rows.
ADDED = [
    ("events_public_idx", "events", ["starts_at", "id", "ends_at"], "status = 'approved'"),
    ("events_newest_idx", "events", ["created_at", "id", "ends_at"], "status = 'approved'"),
    (
        "events_of_category_idx",
        "events",
        [sa.literal_column("lower(category)"), "starts_at", "id", "ends_at"],
        "status = 'approved'",
    ),
    ("events_cancelled_idx", "events", ["id"], "status = 'cancelled'"),
    ("orders_open_of_event_idx", "orders", ["event_id", "expires_at"], "status = 'pending'"),
    ("orders_paid_at_idx", "orders", ["paid_at", "event_id"], "paid_at IS NOT NULL"),
    ("orders_paid_of_event_idx", "orders", ["event_id", "paid_at"], "paid_at IS NOT NULL"),
    ("payments_open_idx", "payments", ["created_at"], OPEN),
    ("payments_paid_at_idx", "payments", ["paid_at"], "paid_at IS NOT NULL"),
    ("refunds_done_at_idx", "refunds", ["done_at"], "done_at IS NOT NULL"),
    ("sessions_user_id_idx", "sessions", ["user_id"], None),
    ("ended_sessions_idx", "sessions", ["ended_at"], "ended_at IS NOT NULL"),
    ("tickets_issued_at_idx", "tickets", ["issued_at"], None),
    ("tickets_ended_at_idx", "tickets", [sa.literal_column(ENDED_AT)], f"{ENDED_AT} IS NOT NULL"),
    ("transfers_from_id_idx", "transfers", ["from_id"], None),
    ("transfers_to_id_idx", "transfers", ["to_id"], None),
    ("users_deleted_idx", "users", ["id"], "status = 'deleted'"),
]
#: What they take the place of.
REMOVED = [
    ("events_public_idx", "events", ["starts_at", "id"], "status = 'approved'"),
    ("payments_submitting_idx", "payments", ["created_at"], "status = 'submitting'"),
]


def upgrade():
    op.add_column("tickets", sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True))
    # A ticket was issued some moments after its order was paid, in the same transaction: now it is one moment.
    op.execute(
        "UPDATE tickets SET issued_at = orders.paid_at FROM orders"
        " WHERE orders.id = tickets.order_id AND orders.paid_at <> tickets.issued_at"
    )
    op.execute(
        """UPDATE tickets SET taken_back_at = (
            SELECT max(audit_log.created_at)
            FROM audit_log JOIN payments ON payments.id = audit_log.target_id
            WHERE payments.order_id = orders.id
                AND audit_log.target_type = 'payment' AND audit_log.action = 'payment_reversed'
        )
        FROM orders WHERE orders.id = tickets.order_id AND orders.status = 'refunded' AND tickets.status = 'used'"""
    )
    op.create_check_constraint(op.f("taken_back_though_used"), "tickets", "taken_back_at IS NULL OR status = 'used'")
    _replace(REMOVED, ADDED)


def downgrade():
    _replace(ADDED, REMOVED)
    op.drop_column("tickets", "taken_back_at")


def _replace(old, new):
    for name, table, _columns, _where in old:
        op.drop_index(op.f(name), table_name=table)
    for name, table, columns, where in new:
        op.create_index(op.f(name), table, columns, postgresql_where=None if where is None else sa.text(where))
