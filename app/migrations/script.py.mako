"""${message}"""

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}
kind = "expand"


def upgrade() -> None:
    """What comes."""
