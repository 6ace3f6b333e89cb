"""What Alembic runs: the revisions, on the connection it was given."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from store.instants import Instant
from store.tables import metadata


def _render(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    # a revision must not change its meaning when the code does
    return "sa.BigInteger()" if kind == "type" and isinstance(item, Instant) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
