"""The audit trail: every change that a client made, kept for a year."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select
from uuid6 import uuid7

from spec.access import Caller
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import audit

KEPT = timedelta(days=365)


@dataclass(frozen=True)
class Entry:
    """One change: who asked for it, with which key and request, and of what it was one."""

    id: str
    at: datetime
    owner: str
    actor: str
    key: str | None
    verb: str
    target: str
    request: str | None


COLUMNS = tuple(audit.c[name] for name in Entry.__annotations__)


def note(tx: WriteTx, caller: Caller, verb: str, target: str) -> None:
    """Remembers a change, in the transaction that makes it."""
    tx.execute(
        insert(audit).values(
            id=f"aud_{uuid7().hex}",
            at=now(),
            owner=caller.owner,
            actor=caller.name,
            key=caller.key,
            verb=verb,
            target=target,
            request=caller.request,
        )
    )


def find(tx: ReadTx, *, before: str | None, limit: int) -> list[Entry]:
    """Changes, the newest first; those older than the id `before` only."""
    query = select(*COLUMNS).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [Entry(**row._mapping) for row in tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name for it


def forget(tx: WriteTx, *, limit: int) -> int:
    """Deletes entries that are too old, at most so many; how many there were."""
    old = select(audit.c.id).where(audit.c.at < from_now(-KEPT)).limit(limit)
    return tx.execute(delete(audit).where(audit.c.id.in_(old))).rowcount
