"""INSERT .. ON CONFLICT, which SQLAlchemy spells once per database."""

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

    A row that is alone may have SQL expressions among its values.

    Returns:
        How many rows were written.
    """
    construct = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    key = [column.name for column in table.primary_key.columns]
    statement = construct(table)
    statement = statement.on_conflict_do_update(
        index_elements=key,
        set_={name: statement.excluded[name] for name in rows[0] if name not in key},
        where=where(table.c, statement.excluded) if where else None,
    )
    # RETURNING, because a driver need not know how many rows an INSERT wrote
    returning = statement.returning(*table.primary_key.columns)
    if len(rows) == 1:
        return len(tx.execute(returning.values(**rows[0])).all())
    return len(tx.execute(returning, rows).all())


def insert_new(tx: WriteTx, table: Table, row: Mapping[str, Any]) -> None:
    """Inserts a row, unless one with its key is there."""
    construct = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    tx.execute(construct(table).on_conflict_do_nothing().values(**row))
