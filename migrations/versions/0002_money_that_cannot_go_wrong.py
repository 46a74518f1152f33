"""refunds, Paybill, requests to Daraja, claims, alerts, idempotency keys"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Enumerations that grew: table, column, constraint, the values before, and those since.
CHANNELS_BEFORE = ["stk_callback", "stk_hint", "stk_query"]
CHANNELS = [*CHANNELS_BEFORE, "c2b", "result", "timeout", "pull", "statement", "admin"]
PAYMENT_STATUSES_BEFORE = ["submitting", "prompted", "unknown", "refused", "failed", "paid", "quarantined"]
PAYMENT_STATUSES = ["queued", *PAYMENT_STATUSES_BEFORE, "reversed"]
GROWN = [
    ("payments", "status", "known_payment_status", PAYMENT_STATUSES_BEFORE, PAYMENT_STATUSES),
    ("payments", "paid_through", "known_message_channel", CHANNELS_BEFORE, CHANNELS),
    ("mpesa_messages", "channel", "known_message_channel", CHANNELS_BEFORE, CHANNELS),
]


def _allow(table, column, constraint, values):
    op.drop_constraint(op.f(constraint), table, type_="check")
    listed = ", ".join(f"'{value}'" for value in values)
    op.create_check_constraint(op.f(constraint), table, f"{column} IN ({listed})")


def _one_live_prompt(statuses):
    op.drop_index("one_live_prompt_per_order", table_name="payments")
    listed = ", ".join(f"'{status}'" for status in statuses)
    op.create_index(
        "one_live_prompt_per_order",
        "payments",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text(f"status IN ({listed}) AND superseded_at IS NULL"),
    )


def upgrade():
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=True),
        sa.Column("target_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("alerts_pkey")),
    )
    op.create_index(op.f("alerts_kind_created_at_idx"), "alerts", ["kind", "created_at"], unique=False)
    op.create_index(
        "alerts_to_send_idx",
        "alerts",
        ["next_try_at"],
        unique=False,
        postgresql_where=sa.text("next_try_at IS NOT NULL"),
    )
    op.create_table(
        "mpesa_line",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("next_push_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_sweep_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pulled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_pull_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("one_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("mpesa_line_pkey")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("working_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("idempotency_keys_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("idempotency_keys_pkey")),
        sa.UniqueConstraint("user_id", "key", name=op.f("idempotency_keys_user_id_key_key")),
    )
    op.create_index(op.f("idempotency_keys_created_at_idx"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "claims",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "open",
                "attached",
                "closed",
                name="known_claim_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("claims_order_id_fkey")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("claims_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("claims_pkey")),
        sa.UniqueConstraint("order_id", "receipt", name=op.f("claims_order_id_receipt_key")),
    )
    op.create_index("claims_open_idx", "claims", ["receipt"], unique=False, postgresql_where=sa.text("status = 'open'"))
    op.create_index(op.f("claims_user_id_created_at_idx"), "claims", ["user_id", "created_at"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("amount_kes", sa.BigInteger(), nullable=False),
        sa.Column(
            "method",
            sa.Enum(
                "reversal",
                "b2c",
                "by_hand",
                name="known_refund_method",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "requested",
                "sent",
                "done",
                "refund_failed",
                "by_hand",
                name="known_refund_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("result_code", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looks", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_kes > 0", name=op.f("refund_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("refunds_order_id_fkey")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("refunds_payment_id_fkey")),
        sa.ForeignKeyConstraint(["requested_by_id"], ["users.id"], name=op.f("refunds_requested_by_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("refunds_pkey")),
    )
    op.create_index(op.f("refunds_order_id_idx"), "refunds", ["order_id"], unique=False)
    op.create_index(op.f("refunds_payment_id_idx"), "refunds", ["payment_id"], unique=False)
    op.create_index(op.f("refunds_status_id_idx"), "refunds", ["status", "id"], unique=False)
    op.create_index(
        "refunds_to_look_after_idx",
        "refunds",
        ["next_look_at"],
        unique=False,
        postgresql_where=sa.text("next_look_at IS NOT NULL"),
    )
    op.create_table(
        "mpesa_requests",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "reversal",
                "b2c",
                "status",
                name="known_request_kind",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("refund_id", sa.BigInteger(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("result_token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("originator_conversation_id", sa.Text(), nullable=True),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "sending",
                "sent",
                "refused",
                "unknown",
                "answered",
                name="known_request_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name=op.f("mpesa_requests_refund_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("mpesa_requests_pkey")),
        sa.UniqueConstraint("originator_conversation_id", name=op.f("mpesa_requests_originator_conversation_id_key")),
        sa.UniqueConstraint("result_token_hash", name=op.f("mpesa_requests_result_token_hash_key")),
    )
    op.create_index(op.f("mpesa_requests_receipt_idx"), "mpesa_requests", ["receipt"], unique=False)
    op.create_index(op.f("mpesa_requests_refund_id_idx"), "mpesa_requests", ["refund_id"], unique=False)
    op.add_column("events", sa.Column("refund_until_hours", sa.BigInteger(), nullable=True))
    op.execute("UPDATE events SET refund_until_hours = 0")
    op.create_check_constraint(op.f("refund_hours_not_negative"), "events", "refund_until_hours >= 0")
    op.add_column("mpesa_messages", sa.Column("request_id", sa.BigInteger(), nullable=True))
    op.add_column("mpesa_messages", sa.Column("receipt", sa.Text(), nullable=True))
    op.add_column("mpesa_messages", sa.Column("tries", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("mpesa_messages", "tries", server_default=None)
    op.add_column("mpesa_messages", sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("mpesa_messages", "payment_id", existing_type=sa.BIGINT(), nullable=True)
    op.create_index(
        "mpesa_messages_receipt_idx",
        "mpesa_messages",
        ["receipt"],
        unique=False,
        postgresql_where=sa.text("receipt IS NOT NULL"),
    )
    op.create_index(op.f("mpesa_messages_request_id_idx"), "mpesa_messages", ["request_id"], unique=False)
    op.create_foreign_key(
        op.f("mpesa_messages_request_id_fkey"), "mpesa_messages", "mpesa_requests", ["request_id"], ["id"]
    )
    op.add_column(
        "payments",
        sa.Column(
            "method",
            sa.Enum(
                "prompt", "paybill", name="known_payment_method", native_enum=False, create_constraint=True, length=20
            ),
            nullable=False,
            server_default="prompt",
        ),
    )
    op.alter_column("payments", "method", server_default=None)
    op.add_column("payments", sa.Column("typed_reference", sa.Text(), nullable=True))
    op.add_column("payments", sa.Column("payer", sa.Text(), nullable=True))
    op.add_column("payments", sa.Column("refunded_kes", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("payments", "refunded_kes", server_default=None)
    op.add_column("payments", sa.Column("push_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("payments", sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("payments", sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("payments", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("payments", sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("payments", "order_id", existing_type=sa.BIGINT(), nullable=True)
    op.alter_column("payments", "phone", existing_type=sa.TEXT(), nullable=True)
    op.alter_column("payments", "callback_token_hash", existing_type=postgresql.BYTEA(), nullable=True)
    op.drop_index(op.f("payments_noted_idx"), table_name="payments", postgresql_where=sa.text("(note IS NOT NULL)"))
    op.create_index(
        "payments_noted_idx", "payments", ["id"], unique=False, postgresql_where=sa.text("note IS NOT NULL")
    )
    op.create_index(
        "payments_in_quarantine_idx",
        "payments",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status = 'quarantined'"),
    )
    op.create_index(op.f("payments_created_at_id_idx"), "payments", ["created_at", "id"], unique=False)
    op.create_index(
        "payments_queued_idx", "payments", ["push_at"], unique=False, postgresql_where=sa.text("status = 'queued'")
    )
    op.create_index(
        "payments_unreconciled_idx",
        "payments",
        ["paid_at"],
        unique=False,
        postgresql_where=sa.text("status = 'paid' AND reconciled_at IS NULL"),
    )
    op.add_column("tickets", sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tickets", sa.Column("refund_id", sa.BigInteger(), nullable=True))
    op.create_index(op.f("tickets_refund_id_idx"), "tickets", ["refund_id"], unique=False)
    op.create_foreign_key(op.f("tickets_refund_id_fkey"), "tickets", "refunds", ["refund_id"], ["id"])

    for table, column, constraint, _before, since in GROWN:
        _allow(table, column, constraint, since)
    _one_live_prompt(["queued", "submitting", "prompted", "unknown"])
    op.execute("UPDATE payments SET pushed_at = created_at")
    op.create_check_constraint(
        op.f("prompt_has_order_phone_and_secret"),
        "payments",
        "method = 'paybill' OR (order_id IS NOT NULL AND phone IS NOT NULL AND callback_token_hash IS NOT NULL)",
    )
    op.create_check_constraint(
        op.f("paybill_money_has_a_receipt"), "payments", "method = 'prompt' OR receipt IS NOT NULL"
    )
    op.create_check_constraint(
        op.f("orphan_money_waits_or_left"),
        "payments",
        "order_id IS NOT NULL OR status IN ('quarantined', 'paid', 'reversed')",
    )
    op.create_check_constraint(
        op.f("never_more_back_than_came"), "payments", "refunded_kes >= 0 AND refunded_kes <= amount_kes"
    )
    op.execute("UPDATE tickets SET voided_at = issued_at WHERE status = 'void'")
    op.create_check_constraint(op.f("void_since_a_moment"), "tickets", "(status = 'void') = (voided_at IS NOT NULL)")


def downgrade():
    op.drop_constraint(op.f("void_since_a_moment"), "tickets", type_="check")
    for name in (
        "never_more_back_than_came",
        "orphan_money_waits_or_left",
        "paybill_money_has_a_receipt",
        "prompt_has_order_phone_and_secret",
    ):
        op.drop_constraint(op.f(name), "payments", type_="check")
    op.drop_constraint(op.f("refund_hours_not_negative"), "events", type_="check")
    _one_live_prompt(["submitting", "prompted", "unknown"])
    for table, column, constraint, before, _since in GROWN:
        _allow(table, column, constraint, before)
    op.drop_constraint(op.f("tickets_refund_id_fkey"), "tickets", type_="foreignkey")
    op.drop_index(op.f("tickets_refund_id_idx"), table_name="tickets")
    op.drop_column("tickets", "refund_id")
    op.drop_column("tickets", "voided_at")
    op.drop_index(
        "payments_unreconciled_idx",
        table_name="payments",
        postgresql_where=sa.text("status = 'paid' AND reconciled_at IS NULL"),
    )
    op.drop_index("payments_queued_idx", table_name="payments", postgresql_where=sa.text("status = 'queued'"))
    op.drop_index(op.f("payments_created_at_id_idx"), table_name="payments")
    op.drop_index(
        "payments_in_quarantine_idx", table_name="payments", postgresql_where=sa.text("status = 'quarantined'")
    )
    op.drop_index("payments_noted_idx", table_name="payments", postgresql_where=sa.text("note IS NOT NULL"))
    op.create_index(
        op.f("payments_noted_idx"),
        "payments",
        ["order_id"],
        unique=False,
        postgresql_where=sa.text("(note IS NOT NULL)"),
    )
    op.alter_column("payments", "callback_token_hash", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("payments", "phone", existing_type=sa.TEXT(), nullable=False)
    op.alter_column("payments", "order_id", existing_type=sa.BIGINT(), nullable=False)
    op.drop_column("payments", "reconciled_at")
    op.drop_column("payments", "seen_at")
    op.drop_column("payments", "moved_at")
    op.drop_column("payments", "pushed_at")
    op.drop_column("payments", "push_at")
    op.drop_column("payments", "refunded_kes")
    op.drop_column("payments", "payer")
    op.drop_column("payments", "typed_reference")
    op.drop_column("payments", "method")
    op.drop_constraint(op.f("mpesa_messages_request_id_fkey"), "mpesa_messages", type_="foreignkey")
    op.drop_index(op.f("mpesa_messages_request_id_idx"), table_name="mpesa_messages")
    op.drop_index(
        "mpesa_messages_receipt_idx", table_name="mpesa_messages", postgresql_where=sa.text("receipt IS NOT NULL")
    )
    op.alter_column("mpesa_messages", "payment_id", existing_type=sa.BIGINT(), nullable=False)
    op.drop_column("mpesa_messages", "next_try_at")
    op.drop_column("mpesa_messages", "tries")
    op.drop_column("mpesa_messages", "receipt")
    op.drop_column("mpesa_messages", "request_id")
    op.drop_column("events", "refund_until_hours")
    op.drop_index(op.f("mpesa_requests_refund_id_idx"), table_name="mpesa_requests")
    op.drop_index(op.f("mpesa_requests_receipt_idx"), table_name="mpesa_requests")
    op.drop_table("mpesa_requests")
    op.drop_index(
        "refunds_to_look_after_idx", table_name="refunds", postgresql_where=sa.text("next_look_at IS NOT NULL")
    )
    op.drop_index(op.f("refunds_status_id_idx"), table_name="refunds")
    op.drop_index(op.f("refunds_payment_id_idx"), table_name="refunds")
    op.drop_index(op.f("refunds_order_id_idx"), table_name="refunds")
    op.drop_table("refunds")
    op.drop_index(op.f("claims_user_id_created_at_idx"), table_name="claims")
    op.drop_index("claims_open_idx", table_name="claims", postgresql_where=sa.text("status = 'open'"))
    op.drop_table("claims")
    op.drop_index(op.f("idempotency_keys_created_at_idx"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("mpesa_line")
    op.drop_index("alerts_to_send_idx", table_name="alerts", postgresql_where=sa.text("next_try_at IS NOT NULL"))
    op.drop_index(op.f("alerts_kind_created_at_idx"), table_name="alerts")
    op.drop_table("alerts")
