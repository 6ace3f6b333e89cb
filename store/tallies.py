"""What was counted, over the lives of all workers: a total never falls.

A worker says how much it has counted since its process started, in its own row, with its heartbeat:
that costs no statement, waits for nobody, and can be said twice. Whoever deletes or restarts such
a row adds what it held to `tallies`, in the same transaction.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from store.database import ReadTx, WriteTx
from store.tables import tallies, workers


def add(tx: WriteTx, counts: Mapping[str, int]) -> None:
    """Adds to the totals; last in a transaction, since others wait for these rows."""
    construct = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = construct(tallies)
    more = {"value": tallies.c.value + statement.excluded.value}
    statement = statement.on_conflict_do_update(index_elements=["name"], set_=more)
    # by name: of two who add, none waits for the other and is waited for
    rows = [{"name": name, "value": counts[name]} for name in sorted(counts) if counts[name]]
    if rows:
        tx.execute(statement, rows)


def keep(tx: WriteTx, said: Iterable[Mapping[str, int] | None]) -> None:
    """Adds what workers said whose rows are going."""
    add(tx, _sum(said))


def totals(tx: ReadTx) -> Mapping[str, int]:
    """Everything that was ever counted, by name."""
    kept = {row.name: row.value for row in tx.execute(select(tallies))}
    said = tx.execute(select(workers.c.tallies)).scalars()
    return _sum([kept, *said])


def _sum(several: Iterable[Mapping[str, int] | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in several:
        found.update(each or {})
    return found
