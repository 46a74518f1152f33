"""idempotency keys know the order that their work was about"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("idempotency_keys", sa.Column("order_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("idempotency_keys_order_id_fkey"), "idempotency_keys", "orders", ["order_id"], ["id"])


def downgrade():
    op.drop_constraint(op.f("idempotency_keys_order_id_fkey"), "idempotency_keys", type_="foreignkey")
    op.drop_column("idempotency_keys", "order_id")
