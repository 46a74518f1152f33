"""search for words as they are written, beside their stems"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BETWEEN_WORDS = "[!-/:-@[-`{-\xbf\u2000-\u2bff\u3000-\u303f\U0001f000-\U0001faff]+"
WORDS = (
    "regexp_replace(((((((title || ' '::text) || COALESCE(tags, ''::text)) || ' '::text) || location) || ' '::text)"
    f" || description), '{BETWEEN_WORDS}'::text, ' '::text, 'g'::text)"
)


def upgrade():
    replace_search_words(f"(to_tsvector('english'::regconfig, {WORDS}) || to_tsvector('simple'::regconfig, {WORDS}))")


def downgrade():
    replace_search_words(
        "(((setweight(to_tsvector('english'::regconfig, title), 'A'::\"char\") || setweight(to_tsvector('english'::regconfig, COALESCE(tags, ''::text)), 'B'::\"char\")) || setweight(to_tsvector('english'::regconfig, location), 'B'::\"char\")) || setweight(to_tsvector('english'::regconfig, description), 'C'::\"char\"))"
    )


def replace_search_words(expression):
    """A computed column cannot be altered before PostgreSQL 17; it holds nothing of its own, so it is made anew."""
    op.drop_index("events_search_words_idx", table_name="events", postgresql_using="gin")
    op.drop_column("events", "search_words")
    column = sa.Column("search_words", postgresql.TSVECTOR(), sa.Computed(expression, persisted=True), nullable=False)
    op.add_column("events", column)
    op.create_index("events_search_words_idx", "events", ["search_words"], unique=False, postgresql_using="gin")
