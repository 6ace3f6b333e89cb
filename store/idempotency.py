"""The answers to requests that carried a key, so that one that is sent again does nothing twice."""

import zlib
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, func, select, tuple_

from store.database import WriteTx
from store.instants import from_now, now
from store.tables import idempotency
from store.upserts import upsert

KEPT = timedelta(hours=24)


class InFlightError(Exception):
    """A request with the same key is being answered at this moment."""


@dataclass(frozen=True)
class Answer:
    """What was answered; `request` is the SHA-256 of what had been asked for."""

    request: str
    status: int
    location: str | None
    body: bytes


def earlier(tx: WriteTx, *, caller: str, key: str) -> Answer | None:
    """The answer of the last 24 hours; the key is this transaction's own until it ends.

    Raises:
        InFlightError: it is another transaction's.
    """
    if tx.dialect.name == "postgresql":  # SQLite has one writer at a time
        # An INSERT would wait for the other transaction; and the lock is let go after what was
        # done under it can be seen.
        lock = func.pg_try_advisory_xact_lock(_number(caller, key))
        if not tx.execute(select(lock)).scalar_one():
            raise InFlightError(key)
    row = tx.execute(
        select(
            *(idempotency.c[name] for name in ("request", "status", "location", "body")),
        ).where(
            idempotency.c.caller == caller,
            idempotency.c.key == key,
            idempotency.c.created_at >= from_now(-KEPT),
        ),
    ).one_or_none()
    if row is None:
        return None
    return Answer(row.request, row.status, row.location, zlib.decompress(row.body))


def keep(tx: WriteTx, answer: Answer, *, caller: str, key: str) -> None:
    """Remembers an answer, in the transaction that does what it says."""
    row = {
        "caller": caller,
        "key": key,
        "request": answer.request,
        "status": answer.status,
        "location": answer.location,
        "body": zlib.compress(answer.body),
        "created_at": now(),
    }
    upsert(tx, idempotency, [row])  # in the place of one that is too old, if it is still there


def forget(tx: WriteTx, *, limit: int) -> int:
    """Deletes answers that are too old, at most so many; how many there were."""
    which = (idempotency.c.caller, idempotency.c.key)
    old = select(*which).where(idempotency.c.created_at < from_now(-KEPT)).limit(limit)
    return tx.execute(delete(idempotency).where(tuple_(*which).in_(old))).rowcount


def _number(caller: str, key: str) -> int:
    """Of an advisory lock; 64 bits of a digest, so that no two keys have the same."""
    digest = sha256(f"{caller}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
