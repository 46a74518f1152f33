"""sessions, one-time tokens, two-factor log-in, verified addresses"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KINDS_BEFORE = (
    "order_paid", "payment_failed", "refund_started", "refund_done", "event_approved", "event_rejected",
    "event_changed", "event_cancelled", "event_reminder", "review_invitation", "transfer_offered", "transfer_accepted",
    "ticket_received", "ticket_reissued",
)  # fmt: skip
KINDS = (*KINDS_BEFORE, "verify_email", "password_reset", "password_changed", "email_change", "email_changed")


def one_of(name, *values):
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=20)


def know_kinds(kinds):
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.drop_constraint("known_notification_kind", "notifications", type_="check")
    op.create_check_constraint("known_notification_kind", "notifications", f"kind IN ({listed})")


def upgrade():
    know_kinds(KINDS)
    op.add_column("users", sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("family_hash", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous_refresh_hash", sa.LargeBinary(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "ended_by",
            one_of("known_session_end", "logout", "logout_all", "reuse", "ban", "role", "password", "undo"),
            nullable=True,
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ended_by_something")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
        sa.UniqueConstraint("family_hash", name=op.f("sessions_family_hash_key")),
    )
    op.create_index(
        "open_sessions_idx", "sessions", ["user_id", "last_used_at", "id"], unique=False,
        postgresql_where="ended_at IS NULL",
    )  # fmt: skip
    op.create_index(op.f("sessions_expires_at_idx"), "sessions", ["expires_at"], unique=False)
    op.create_table(
        "one_time_tokens",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "purpose",
            one_of("known_token_purpose", "verify_email", "reset_password", "change_email", "undo_email_change"),
            nullable=False,
        ),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("one_time_tokens_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("one_time_tokens_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("one_time_tokens_token_hash_key")),
    )
    op.create_index(
        "only_the_newest_is_good", "one_time_tokens", ["user_id", "purpose"], unique=True,
        postgresql_where="ended_at IS NULL AND purpose <> 'undo_email_change'",
    )  # fmt: skip
    op.create_index(op.f("one_time_tokens_user_id_id_idx"), "one_time_tokens", ["user_id", "id"], unique=False)
    op.create_index(op.f("one_time_tokens_expires_at_idx"), "one_time_tokens", ["expires_at"], unique=False)
    op.create_table(
        "reset_requests",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("reset_requests_pkey")),
    )
    op.create_table(
        "two_factors",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("recovery_hashes", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("two_factors_user_id_fkey")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("two_factors_pkey")),
    )


def downgrade():
    op.drop_table("two_factors")
    op.drop_table("reset_requests")
    op.drop_table("one_time_tokens")
    op.drop_table("sessions")
    op.drop_column("users", "email_verified_at")
    listed = ", ".join(f"'{kind}'" for kind in KINDS if kind not in KINDS_BEFORE)
    op.execute(f"DELETE FROM notifications WHERE kind IN ({listed})")  # noqa: S608  # our own words
    know_kinds(KINDS_BEFORE)
