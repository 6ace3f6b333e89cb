"""The components that packages of workers offer, as the workers have told of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, select

from spec.catalogue import Kind, Offered
from store import workers
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import components
from store.upserts import upsert


@dataclass(frozen=True)
class Known:
    """A component, and how many workers offer it now; none where all of them are lost."""

    offered: Offered
    workers: int
    seen_at: datetime


def publish(tx: WriteTx, offered: Iterable[Offered]) -> None:
    """Tells of what a worker offers."""
    rows = [
        {
            "digest": each.digest,
            "kind": each.kind,
            "name": each.name,
            "package": each.package,
            "version": each.version[:64],
            "description": each.description,
            "parameters": each.parameters,
            "seen_at": now(),
        }
        for each in offered
    ]
    # in one order, so that two workers never wait for each other
    for row in sorted(rows, key=lambda each: str(each["digest"])):
        upsert(tx, components, [row])


def find(
    tx: ReadTx, *, lost_after: timedelta, kind: Kind | None = None
) -> tuple[list[Known], list[workers.Worker]]:
    """What workers offer, or have offered, by kind, name and package; and the workers."""
    query = select(components).order_by(
        components.c.kind, components.c.name, components.c.package, components.c.digest
    )
    if kind is not None:
        query = query.where(components.c.kind == kind)
    pool = workers.find(tx, lost_after=lost_after)
    count = Counter(
        each
        for worker in pool
        if worker.state != "lost" and worker.offer is not None
        for each in worker.offer.components
    )
    found = [(_offered(row), row.seen_at) for row in tx.execute(query)]
    return [Known(each, count[each.requirement], seen) for each, seen in found], pool


def forget(tx: WriteTx, *, unseen_for: timedelta) -> None:
    """Deletes what nobody has offered for so long."""
    tx.execute(delete(components).where(components.c.seen_at < from_now(-unseen_for)))


def _offered(row: Row[Any]) -> Offered:
    return Offered(
        kind=row.kind,
        name=row.name,
        package=row.package,
        version=row.version,
        description=row.description,
        parameters=row.parameters,
    )
