"""INSERT .. ON CONFLICT DO UPDATE, which SQLAlchemy spells once per database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects import postgresql, sqlite

from store.database import WriteTx


def upsert(
    tx: WriteTx,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    where: Callable[[Any, Any], ColumnElement[bool]] | None = None,
) -> int:
    """Inserts rows, or replaces the stored ones where `where(stored, written)` holds.

    Returns:
        How many rows were written.
    """
    construct = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    key = [column.name for column in table.primary_key.columns]
    written = 0
    for row in rows:  # an executemany would not tell how many rows a guard let through
        statement = construct(table).values(**row)
        statement = statement.on_conflict_do_update(
            index_elements=key,
            set_={name: statement.excluded[name] for name in row if name not in key},
            where=where(table.c, statement.excluded) if where else None,
        )
        # RETURNING, because a driver need not know how many rows an INSERT wrote
        written += len(tx.execute(statement.returning(*table.primary_key.columns)).all())
    return written
