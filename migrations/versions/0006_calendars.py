"""calendars: how often an event was edited, whose address a feed has; attendees of an event in order"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("users", sa.Column("calendar_version", sa.BigInteger(), nullable=False, server_default="1"))
    op.alter_column("users", "calendar_version", server_default=None)
    op.add_column("events", sa.Column("calendar_sequence", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("events", "calendar_sequence", server_default=None)
    op.add_column("events", sa.Column("cancelled_in_public", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("events", "cancelled_in_public", server_default=None)
    # Only what was approved could be ordered.
    op.execute(
        "UPDATE events SET cancelled_in_public = true WHERE status = 'cancelled'"
        " AND EXISTS (SELECT FROM orders WHERE orders.event_id = events.id)"
    )
    op.create_index(op.f("tickets_ticket_type_id_id_idx"), "tickets", ["ticket_type_id", "id"], unique=False)
    op.drop_index(op.f("tickets_ticket_type_id_idx"), table_name="tickets")


def downgrade():
    op.create_index(op.f("tickets_ticket_type_id_idx"), "tickets", ["ticket_type_id"], unique=False)
    op.drop_index(op.f("tickets_ticket_type_id_id_idx"), table_name="tickets")
    op.drop_column("events", "cancelled_in_public")
    op.drop_column("events", "calendar_sequence")
    op.drop_column("users", "calendar_version")
