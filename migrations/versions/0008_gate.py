"""the gate: passes, scans, who is out, and when a ticket changed"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("events", sa.Column("allows_reentry", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("events", "allows_reentry", server_default=None)
    op.add_column("tickets", sa.Column("left_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "tickets", sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
    )
    op.alter_column("tickets", "changed_at", server_default=None)
    op.create_index(
        op.f("tickets_ticket_type_id_changed_at_idx"), "tickets", ["ticket_type_id", "changed_at"], unique=False
    )
    op.create_table(
        "gate_passes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("made_by_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("gates", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("gate_passes_event_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["made_by_id"], ["users.id"], name=op.f("gate_passes_made_by_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("gate_passes_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("gate_passes_secret_hash_key")),
    )
    op.create_index(op.f("gate_passes_event_id_id_idx"), "gate_passes", ["event_id", "id"], unique=False)
    op.create_table(
        "scans",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_id", sa.BigInteger(), nullable=True),
        sa.Column("presented_hash", sa.LargeBinary(), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("gate_pass_id", sa.BigInteger(), nullable=True),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column(
            "direction",
            sa.Enum("in", "out", name="known_direction", native_enum=False, length=20, create_constraint=True),
            nullable=False,
        ),
        sa.Column(
            "result",
            sa.Enum(
                "ok",
                "already_in",
                "already_out",
                "not_in",
                "void",
                "refunded",
                "wrong_event",
                "wrong_gate",
                "not_yet",
                "too_late",
                "bad_signature",
                "superseded",
                "unknown",
                "event_cancelled",
                "undone",
                name="known_scan_result",
                native_enum=False,
                length=20,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("is_conflict", sa.Boolean(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_gate", sa.Text(), nullable=True),
        sa.Column("undoes_id", sa.BigInteger(), nullable=True),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(result = 'undone') = (undoes_id IS NOT NULL)", name="undone_is_of_a_scan"),
        sa.CheckConstraint("(user_id IS NULL) <> (gate_pass_id IS NULL)", name="scanned_by_one"),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("scans_event_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["gate_pass_id"], ["gate_passes.id"], name=op.f("scans_gate_pass_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("scans_ticket_id_fkey")),
        sa.ForeignKeyConstraint(["undoes_id"], ["scans.id"], name=op.f("scans_undoes_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("scans_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("scans_pkey")),
    )
    op.create_index("one_scan_of_a_nonce", "scans", ["event_id", "nonce"], unique=True)
    op.create_index("one_undoing_of_a_scan", "scans", ["undoes_id"], unique=True)
    op.create_index(op.f("scans_ticket_id_id_idx"), "scans", ["ticket_id", "id"], unique=False)
    op.create_index(op.f("scans_event_id_scanned_at_idx"), "scans", ["event_id", "scanned_at"], unique=False)
    op.create_index(op.f("scans_gate_pass_id_received_at_idx"), "scans", ["gate_pass_id", "received_at"], unique=False)


def downgrade():
    op.drop_table("scans")
    op.drop_table("gate_passes")
    op.drop_index(op.f("tickets_ticket_type_id_changed_at_idx"), table_name="tickets")
    op.drop_column("tickets", "changed_at")
    op.drop_column("tickets", "left_at")
    op.drop_column("events", "allows_reentry")
