"""accounts that are deleted, what people agreed to, messages without people"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PHONE = "phone ~ '^254[17][0-9]{8}$'"


def upgrade():
    op.drop_constraint("known_account_status", "users")
    op.create_check_constraint("known_account_status", "users", "status IN ('active', 'banned', 'deleted')")
    op.drop_constraint("phone_is_kenyan", "users")
    op.create_check_constraint("phone_is_kenyan", "users", f"status = 'deleted' OR {PHONE}")
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("is_given", sa.Boolean(), nullable=False),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("consents_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("consents_pkey")),
    )
    op.create_index(op.f("consents_user_id_id_idx"), "consents", ["user_id", "id"], unique=False)
    op.add_column("mpesa_messages", sa.Column("blanked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "mpesa_messages_to_blank_idx", "mpesa_messages", ["received_at"], unique=False,
        postgresql_where="blanked_at IS NULL",
    )  # fmt: skip


def downgrade():
    op.drop_index("mpesa_messages_to_blank_idx", table_name="mpesa_messages")
    op.drop_column("mpesa_messages", "blanked_at")
    op.drop_table("consents")
    # What was deleted stays so: nobody's, and shut out.
    op.execute("UPDATE users SET status = 'banned', phone = '2547' || lpad(id::text, 8, '0') WHERE status = 'deleted'")
    op.drop_constraint("phone_is_kenyan", "users")
    op.create_check_constraint("phone_is_kenyan", "users", PHONE)
    op.drop_constraint("known_account_status", "users")
    op.create_check_constraint("known_account_status", "users", "status IN ('active', 'banned')")
