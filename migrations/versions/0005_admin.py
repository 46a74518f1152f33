"""the audit log is read by user and by action, newest first"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index(
        op.f("audit_log_user_id_created_at_id_idx"), "audit_log", ["user_id", "created_at", "id"], unique=False
    )
    op.create_index(
        op.f("audit_log_action_created_at_id_idx"), "audit_log", ["action", "created_at", "id"], unique=False
    )
    op.drop_index(op.f("audit_log_user_id_idx"), table_name="audit_log")


def downgrade():
    op.create_index(op.f("audit_log_user_id_idx"), "audit_log", ["user_id"], unique=False)
    op.drop_index(op.f("audit_log_action_created_at_id_idx"), table_name="audit_log")
    op.drop_index(op.f("audit_log_user_id_created_at_id_idx"), table_name="audit_log")
