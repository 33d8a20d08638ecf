"""Voices of speakers, by owner and name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "voices",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("voice", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_voices"),
    )
