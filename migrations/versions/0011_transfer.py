"""transfers: tickets that are passed on or issued anew, and people without an account who hold one"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KINDS = (
    "order_paid", "payment_failed", "refund_started", "refund_done", "event_approved", "event_rejected",
    "event_changed", "event_cancelled", "event_reminder", "review_invitation",
)  # fmt: skip
NEW_KINDS = ("transfer_offered", "transfer_accepted", "ticket_received", "ticket_reissued")


def one_of(name, *values):
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=20)


def know_kinds(*kinds):
    op.drop_constraint(op.f("known_notification_kind"), "notifications", type_="check")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(op.f("known_notification_kind"), "notifications", f"kind IN ({listed})")


def upgrade():
    op.add_column("tickets", sa.Column("holder_id", sa.BigInteger(), nullable=True))
    op.add_column("tickets", sa.Column("passed_on_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("refund_agreed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE tickets SET holder_id = orders.buyer_id FROM orders WHERE orders.id = tickets.order_id")
    op.create_foreign_key(op.f("tickets_holder_id_fkey"), "tickets", "users", ["holder_id"], ["id"])
    op.create_check_constraint(
        op.f("who_got_it_agrees"), "tickets", "refund_agreed_at IS NULL OR passed_on_at IS NOT NULL"
    )
    op.create_index(op.f("tickets_holder_id_id_idx"), "tickets", ["holder_id", "id"], unique=False)

    op.add_column("events", sa.Column("transfer_until_hours", sa.BigInteger(), nullable=True))
    op.execute("UPDATE events SET transfer_until_hours = 0")
    op.create_check_constraint(op.f("transfer_hours_not_negative"), "events", "transfer_until_hours >= 0")

    op.create_table(
        "superseded_codes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("superseded_codes_ticket_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("superseded_codes_pkey")),
        sa.UniqueConstraint("code", name=op.f("superseded_codes_code_key")),
    )
    op.create_index(op.f("superseded_codes_ticket_id_idx"), "superseded_codes", ["ticket_id"], unique=False)
    op.create_table(
        "transfers",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_id", sa.BigInteger(), nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=True),
        sa.Column("from_name", sa.Text(), nullable=False),
        sa.Column("from_email", sa.Text(), nullable=False),
        sa.Column("from_phone", sa.Text(), nullable=False),
        sa.Column("to_email", sa.Text(), nullable=True),
        sa.Column("to_phone", sa.Text(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("to_id", sa.BigInteger(), nullable=True),
        sa.Column("status", one_of("known_transfer_status", "offered", "accepted", "withdrawn"), nullable=False),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(to_email IS NULL) <> (to_phone IS NULL)", name=op.f("offered_one_way")),
        sa.CheckConstraint("(status = 'offered') = (ended_at IS NULL)", name=op.f("offered_until_it_ends")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("transfers_ticket_id_fkey")),
        sa.ForeignKeyConstraint(["from_id"], ["users.id"], name=op.f("transfers_from_id_fkey")),
        sa.ForeignKeyConstraint(["to_id"], ["users.id"], name=op.f("transfers_to_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("transfers_pkey")),
    )
    op.create_index(op.f("transfers_ticket_id_id_idx"), "transfers", ["ticket_id", "id"], unique=False)
    op.create_index(
        "one_offer_of_a_ticket", "transfers", ["ticket_id"], unique=True, postgresql_where="status = 'offered'"
    )

    know_kinds(*KINDS, *NEW_KINDS)
    op.alter_column("notifications", "user_id", nullable=True)


def downgrade():
    notifications = sa.table("notifications", sa.column("user_id"), sa.column("kind"))
    is_new = notifications.c.user_id.is_(None) | notifications.c.kind.in_(NEW_KINDS)
    op.execute(notifications.delete().where(is_new))
    op.alter_column("notifications", "user_id", nullable=False)
    know_kinds(*KINDS)
    op.drop_table("transfers")
    op.drop_table("superseded_codes")
    op.drop_column("events", "transfer_until_hours")
    op.drop_index(op.f("tickets_holder_id_id_idx"), "tickets")
    op.drop_column("tickets", "refund_agreed_at")
    op.drop_column("tickets", "passed_on_at")
    op.drop_column("tickets", "holder_id")
