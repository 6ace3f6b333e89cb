"""What happened to a job: every change of its state, when, and by whom."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Row, bindparam, delete, func, insert, select, type_coerce

from spec.states import State
from store import messages
from store.database import ReadTx, WriteTx
from store.instants import now
from store.tables import attempts, history, jobs

RECONCILER = "reconciler"

NOTED = tuple(jobs.c[name] for name in ("id", "owner", "version", "state", "attempt", "iteration"))
"""Columns that a statement returns for `note`."""


@dataclass(frozen=True)
class Change:
    """One change; `state`, `attempt` and `iteration` are those after it."""

    at: datetime
    actor: str
    verb: str
    state: State
    attempt: int
    iteration: int
    detail: str | None


@dataclass(frozen=True)
class Attempt:
    """One try at a job, from its claim to its end.

    Attributes:
        began: the job's iteration at its start, that of the checkpoint it went on from.
        iterations: the job's iteration at its end.
        reason: why it failed.
    """

    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None
    began: int
    iterations: int | None


KEPT = 1000
"""Changes of one job that are kept, so that a client cannot make more and more of them."""


# made once: a statement that is built anew, or has its values within, is compiled anew as well
_NOTE = insert(history).values(at=now())
_MINE = history.c.job_id == bindparam("of")
_OLDEST_KEPT = (
    select(history.c.version)
    .where(_MINE)
    .order_by(history.c.version.desc())
    .limit(1)
    .offset(bindparam("kept") - 1)
    .scalar_subquery()
)
_FORGET = delete(history).where(_MINE, history.c.version < _OLDEST_KEPT)
_CHANGES = (
    select(*(history.c[name] for name in Change.__annotations__))
    .where(_MINE)
    .order_by(history.c.version.desc())
    .limit(bindparam("most"))
)
_ATTEMPTS = (
    select(*(attempts.c[name] for name in Attempt.__annotations__))
    .where(attempts.c.job_id == bindparam("of"))
    .order_by(attempts.c.attempt.desc())
    .limit(bindparam("most"))
)


def note(
    tx: WriteTx, rows: Iterable[Row[Any]], *, verb: str, actor: str, detail: str | None = None
) -> None:
    """Remembers that jobs have changed, and tells webhooks; the rows hold `NOTED` as it is now."""
    rows = list(rows)
    changes = [
        {
            "job_id": row.id,
            "version": row.version,
            "actor": actor,
            "verb": verb,
            "state": row.state,
            "attempt": row.attempt,
            "iteration": row.iteration,
            "detail": detail,
        }
        for row in rows
    ]
    if changes:
        tx.execute(_NOTE, changes)
        tx.execute(_FORGET, [{"of": change["job_id"], "kept": KEPT} for change in changes])
        messages.of_jobs(tx, rows, verb=verb)


def changes(tx: ReadTx, job_id: str, *, limit: int) -> list[Change]:
    """The latest changes of a job, oldest first."""
    rows = tx.execute(_CHANGES, {"of": job_id, "most": limit}).all()
    return [
        Change(**{**row._mapping, "state": State(row.state)})  # noqa: SLF001 - SQLAlchemy's public name for it
        for row in reversed(rows)
    ]


def attempts_of(tx: ReadTx, job_id: str, *, limit: int) -> list[Attempt]:
    """The latest attempts at a job, oldest first."""
    rows = tx.execute(_ATTEMPTS, {"of": job_id, "most": limit}).all()
    return [Attempt(**row._mapping) for row in reversed(rows)]  # noqa: SLF001 - as above


def spent(tx: ReadTx, job_id: str) -> timedelta:
    """How long the job has run, in all attempts that have ended since its client asked for it."""
    asked = select(func.coalesce(func.max(history.c.attempt), 0)).where(
        history.c.job_id == job_id, history.c.verb == "retry"
    )
    ended, started = (
        type_coerce(attempts.c[name], BigInteger) for name in ("ended_at", "started_at")
    )
    query = select(func.coalesce(func.sum(ended - started), 0)).where(
        attempts.c.job_id == job_id,
        attempts.c.ended_at.is_not(None),
        attempts.c.attempt > asked.scalar_subquery(),
    )
    microseconds = tx.execute(query).scalar_one()
    return timedelta(microseconds=int(microseconds))
