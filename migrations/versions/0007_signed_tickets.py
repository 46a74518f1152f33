"""signed tickets: an event's key pairs, and which issue of a ticket counts"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "ticket_keys",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("ticket_keys_event_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ticket_keys_pkey")),
    )
    op.create_index(op.f("ticket_keys_event_id_id_idx"), "ticket_keys", ["event_id", "id"], unique=False)
    op.add_column("tickets", sa.Column("rotation", sa.SmallInteger(), nullable=False, server_default="1"))
    op.alter_column("tickets", "rotation", server_default=None)


def downgrade():
    op.drop_column("tickets", "rotation")
    op.drop_index(op.f("ticket_keys_event_id_id_idx"), table_name="ticket_keys")
    op.drop_table("ticket_keys")
