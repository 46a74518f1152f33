"""accounts, events, ticket types, orders, payments, tickets, reviews"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "mpesa_access",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetching_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("mpesa_access_pkey")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "attendee",
                "organizer",
                "admin",
                name="known_role",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "active", "banned", name="known_account_status", native_enum=False, create_constraint=True, length=20
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("phone ~ '^254[17][0-9]{8}$'", name=op.f("phone_is_kenyan")),
        sa.CheckConstraint("email = lower(email)", name=op.f("email_in_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email", name=op.f("users_email_key")),
        sa.UniqueConstraint("phone", name=op.f("users_phone_key")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("audit_log_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index(op.f("audit_log_created_at_id_idx"), "audit_log", ["created_at", "id"], unique=False)
    op.create_index(
        op.f("audit_log_target_type_target_id_idx"), "audit_log", ["target_type", "target_id"], unique=False
    )
    op.create_index(op.f("audit_log_user_id_idx"), "audit_log", ["user_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("organizer_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "approved",
                "rejected",
                "cancelled",
                name="known_event_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "search_words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "(to_tsvector('english'::regconfig, regexp_replace(((((((title || ' '::text) || COALESCE(tags, ''::text)) || ' '::text) || location) || ' '::text) || description), '[!-/:-@[-`{-¿\u2000-⯿\u3000-〿🀀-\U0001faff]+'::text, ' '::text, 'g'::text)) || to_tsvector('simple'::regconfig, regexp_replace(((((((title || ' '::text) || COALESCE(tags, ''::text)) || ' '::text) || location) || ' '::text) || description), '[!-/:-@[-`{-¿\u2000-⯿\u3000-〿🀀-\U0001faff]+'::text, ' '::text, 'g'::text)))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("starts_before_it_ends")),
        sa.ForeignKeyConstraint(["organizer_id"], ["users.id"], name=op.f("events_organizer_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
    )
    op.create_index(op.f("events_organizer_id_idx"), "events", ["organizer_id"], unique=False)
    op.create_index(
        "events_pending_idx",
        "events",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "events_public_idx",
        "events",
        ["starts_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'approved'"),
    )
    op.create_index("events_search_words_idx", "events", ["search_words"], unique=False, postgresql_using="gin")
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("buyer_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("poll_id", sa.Text(), nullable=False),
        sa.Column("cart", sa.Text(), nullable=False),
        sa.Column("total_kes", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "paid",
                "failed",
                "expired",
                "cancelled",
                "refund_due",
                "refunded",
                "partly_refunded",
                name="known_order_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("refund_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("total_kes >= 0", name=op.f("total_not_negative")),
        sa.ForeignKeyConstraint(["buyer_id"], ["users.id"], name=op.f("orders_buyer_id_fkey")),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("orders_event_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("orders_pkey")),
        sa.UniqueConstraint("poll_id", name=op.f("orders_poll_id_key")),
        sa.UniqueConstraint("reference", name=op.f("orders_reference_key")),
    )
    op.create_index(op.f("orders_buyer_id_id_idx"), "orders", ["buyer_id", "id"], unique=False)
    op.create_index(op.f("orders_event_id_status_idx"), "orders", ["event_id", "status"], unique=False)
    op.create_index(
        "orders_open_idx", "orders", ["expires_at", "id"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index(
        "orders_refund_due_idx", "orders", ["id"], unique=False, postgresql_where=sa.text("status = 'refund_due'")
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("attendee_id", sa.BigInteger(), nullable=False),
        sa.Column("rating", sa.BigInteger(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("rating >= 1 AND rating <= 5", name=op.f("rating_one_to_five")),
        sa.ForeignKeyConstraint(["attendee_id"], ["users.id"], name=op.f("reviews_attendee_id_fkey")),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("reviews_event_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("reviews_pkey")),
        sa.UniqueConstraint("event_id", "attendee_id", name="one_review_per_attendee"),
    )
    op.create_index(op.f("reviews_attendee_id_idx"), "reviews", ["attendee_id"], unique=False)
    op.create_table(
        "ticket_types",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("price_kes", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("sold", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("sales_start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sales_end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("min_per_order", sa.BigInteger(), nullable=False),
        sa.Column("max_per_order", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("min_per_order >= 1 AND min_per_order <= max_per_order", name=op.f("order_limits_in_order")),
        sa.CheckConstraint("price_kes >= 0", name=op.f("price_not_negative")),
        sa.CheckConstraint("quantity >= 0", name=op.f("quantity_not_negative")),
        sa.CheckConstraint("sales_start_at < sales_end_at", name=op.f("sales_start_before_they_end")),
        sa.CheckConstraint("sold >= 0 AND held >= 0 AND (sold + held) <= quantity", name=op.f("not_oversold")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("ticket_types_event_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ticket_types_pkey")),
    )
    op.create_index(
        "one_ticket_type_of_a_name", "ticket_types", ["event_id", sa.literal_column("lower(name)")], unique=True
    )
    op.create_table(
        "order_items",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_type_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("unit_price_kes", sa.BigInteger(), nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("jsonb_array_length(attendees) = quantity", name=op.f("one_attendee_for_each_place")),
        sa.CheckConstraint("quantity > 0", name=op.f("quantity_positive")),
        sa.CheckConstraint("unit_price_kes >= 0", name=op.f("unit_price_not_negative")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("order_items_order_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["ticket_type_id"], ["ticket_types.id"], name=op.f("order_items_ticket_type_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("order_items_pkey")),
        sa.UniqueConstraint("order_id", "ticket_type_id", name=op.f("order_items_order_id_ticket_type_id_key")),
    )
    op.create_index(op.f("order_items_ticket_type_id_idx"), "order_items", ["ticket_type_id"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("amount_kes", sa.BigInteger(), nullable=False),
        sa.Column("callback_token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("merchant_request_id", sa.Text(), nullable=True),
        sa.Column("checkout_request_id", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "submitting",
                "prompted",
                "unknown",
                "refused",
                "failed",
                "paid",
                "quarantined",
                name="known_payment_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("result_code", sa.Text(), nullable=True),
        sa.Column("result_text", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column(
            "paid_through",
            sa.Enum(
                "stk_callback",
                "stk_hint",
                "stk_query",
                name="known_message_channel",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_query_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queries", sa.BigInteger(), nullable=False),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_kes > 0", name=op.f("amount_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("payments_order_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("payments_pkey")),
        sa.UniqueConstraint("callback_token_hash", name=op.f("payments_callback_token_hash_key")),
        sa.UniqueConstraint("checkout_request_id", name=op.f("payments_checkout_request_id_key")),
        sa.UniqueConstraint("receipt", name=op.f("payments_receipt_key")),
    )
    op.create_index(
        "one_live_prompt_per_order",
        "payments",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('submitting', 'prompted', 'unknown') AND superseded_at IS NULL"),
    )
    op.create_index(
        "payments_noted_idx", "payments", ["order_id"], unique=False, postgresql_where=sa.text("note IS NOT NULL")
    )
    op.create_index(op.f("payments_order_id_id_idx"), "payments", ["order_id", "id"], unique=False)
    op.create_index(op.f("payments_phone_created_at_idx"), "payments", ["phone", "created_at"], unique=False)
    op.create_index(
        "payments_submitting_idx",
        "payments",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'submitting'"),
    )
    op.create_index(
        "payments_to_query_idx",
        "payments",
        ["next_query_at"],
        unique=False,
        postgresql_where=sa.text("next_query_at IS NOT NULL"),
    )
    op.create_table(
        "tickets",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_type_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("price_kes", sa.BigInteger(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "valid",
                "used",
                "void",
                name="known_ticket_status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("tickets_order_id_fkey")),
        sa.ForeignKeyConstraint(["ticket_type_id"], ["ticket_types.id"], name=op.f("tickets_ticket_type_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("tickets_pkey")),
        sa.UniqueConstraint("code", name=op.f("tickets_code_key")),
    )
    op.create_index(op.f("tickets_order_id_idx"), "tickets", ["order_id"], unique=False)
    op.create_index(op.f("tickets_ticket_type_id_idx"), "tickets", ["ticket_type_id"], unique=False)
    op.create_table(
        "mpesa_messages",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "channel",
            sa.Enum(
                "stk_callback",
                "stk_hint",
                "stk_query",
                name="known_message_channel",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("http_status", sa.BigInteger(), nullable=True),
        sa.Column("remote_address", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("mpesa_messages_payment_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("mpesa_messages_pkey")),
    )
    op.create_index(op.f("mpesa_messages_payment_id_id_idx"), "mpesa_messages", ["payment_id", "id"], unique=False)
    op.create_index(
        "mpesa_messages_to_settle_idx",
        "mpesa_messages",
        ["id"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )


def downgrade():
    op.drop_index(
        "mpesa_messages_to_settle_idx", table_name="mpesa_messages", postgresql_where=sa.text("settled_at IS NULL")
    )
    op.drop_index(op.f("mpesa_messages_payment_id_id_idx"), table_name="mpesa_messages")
    op.drop_table("mpesa_messages")
    op.drop_index(op.f("tickets_ticket_type_id_idx"), table_name="tickets")
    op.drop_index(op.f("tickets_order_id_idx"), table_name="tickets")
    op.drop_table("tickets")
    op.drop_index("payments_to_query_idx", table_name="payments", postgresql_where=sa.text("next_query_at IS NOT NULL"))
    op.drop_index("payments_submitting_idx", table_name="payments", postgresql_where=sa.text("status = 'submitting'"))
    op.drop_index(op.f("payments_phone_created_at_idx"), table_name="payments")
    op.drop_index(op.f("payments_order_id_id_idx"), table_name="payments")
    op.drop_index("payments_noted_idx", table_name="payments", postgresql_where=sa.text("note IS NOT NULL"))
    op.drop_index(
        "one_live_prompt_per_order",
        table_name="payments",
        postgresql_where=sa.text("status IN ('submitting', 'prompted', 'unknown') AND superseded_at IS NULL"),
    )
    op.drop_table("payments")
    op.drop_index(op.f("order_items_ticket_type_id_idx"), table_name="order_items")
    op.drop_table("order_items")
    op.drop_index("one_ticket_type_of_a_name", table_name="ticket_types")
    op.drop_table("ticket_types")
    op.drop_index(op.f("reviews_attendee_id_idx"), table_name="reviews")
    op.drop_table("reviews")
    op.drop_index("orders_refund_due_idx", table_name="orders", postgresql_where=sa.text("status = 'refund_due'"))
    op.drop_index("orders_open_idx", table_name="orders", postgresql_where=sa.text("status = 'pending'"))
    op.drop_index(op.f("orders_event_id_status_idx"), table_name="orders")
    op.drop_index(op.f("orders_buyer_id_id_idx"), table_name="orders")
    op.drop_table("orders")
    op.drop_index("events_search_words_idx", table_name="events", postgresql_using="gin")
    op.drop_index("events_public_idx", table_name="events", postgresql_where=sa.text("status = 'approved'"))
    op.drop_index("events_pending_idx", table_name="events", postgresql_where=sa.text("status = 'pending'"))
    op.drop_index(op.f("events_organizer_id_idx"), table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("audit_log_user_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_target_type_target_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_created_at_id_idx"), table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_table("users")
    op.drop_table("mpesa_access")
