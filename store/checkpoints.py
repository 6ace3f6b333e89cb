"""Checkpoints as rows: which a job has, and which of them it needs no more.

A row points to a file that was complete before the row was written. Only the worker that holds the
job's lease writes rows (see `store.leases`), so two workers' files never get mixed up.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, select

from spec.states import FINISHED, State
from spec.values import JobId
from store.database import ReadTx, WriteTx
from store.instants import now
from store.tables import checkpoints, jobs
from store.upserts import upsert

KEPT = 2
"""So many of the latest are kept, whatever they are of."""


MANY = 500
"""Parameters of one statement."""


class CheckpointNotFoundError(Exception):
    """The job has no such checkpoint."""


@dataclass(frozen=True)
class Saved:
    """A file that has just been written: a job's state after `iteration` updates of it.

    Attributes:
        file: from the directory or URL of all checkpoints.
        sha256: of its content, in hexadecimal.
        lasting: the end of a cycle, to be kept beside the latest.
    """

    iteration: int
    file: str
    bytes: int
    sha256: str
    lasting: bool


@dataclass(frozen=True)
class Checkpoint(Saved):
    """One row of `checkpoints`."""

    job_id: JobId
    attempt: int
    created_at: datetime


def find(tx: ReadTx, job_id: str) -> list[Checkpoint]:
    """A job's checkpoints, the latest first."""
    query = _select().where(checkpoints.c.job_id == job_id)
    rows = tx.execute(query.order_by(checkpoints.c.iteration.desc()))
    return [Checkpoint(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def get(tx: ReadTx, job_id: str, iteration: int | None = None) -> Checkpoint:
    """The checkpoint of that iteration, or the latest.

    Raises:
        CheckpointNotFoundError: there is none, which says which there are.
    """
    found = find(tx, job_id)
    for each in found:
        if iteration in {None, each.iteration}:
            return each
    if not found:
        raise CheckpointNotFoundError(f"{job_id} has no checkpoint")
    known = ", ".join(str(each.iteration) for each in reversed(found))
    raise CheckpointNotFoundError(
        f"{job_id} has no checkpoint at iteration {iteration}; it has some at {known}"
    )


def hold(tx: WriteTx, checkpoint: Checkpoint) -> None:
    """Keeps a checkpoint until the transaction has ended; by then a child's row speaks for it.

    Raises:
        CheckpointNotFoundError: it has just been deleted.
    """
    mine = (checkpoints.c.job_id == checkpoint.job_id) & (
        checkpoints.c.iteration == checkpoint.iteration
    )
    there = select(checkpoints.c.iteration).where(mine)
    if tx.execute(there.with_for_update(read=True, key_share=True)).first() is None:
        raise CheckpointNotFoundError(
            f"{checkpoint.job_id} no longer has its checkpoint at iteration {checkpoint.iteration}"
        )


def lock(tx: WriteTx, job_id: str) -> None:
    """Waits for those who `hold` one of a job's checkpoints: what follows sees their children."""
    query = select(checkpoints.c.iteration).where(checkpoints.c.job_id == job_id)
    tx.execute(query.with_for_update()).all()


def write(tx: WriteTx, job_id: str, attempt: int, saved: Sequence[Saved]) -> None:
    """Stores what an attempt has saved, whose lease the transaction has renewed."""
    for each in saved:
        row = {"job_id": job_id, "attempt": attempt, "created_at": now(), **asdict(each)}
        upsert(
            tx,
            checkpoints,
            [row],
            where=lambda stored, written: stored.attempt <= written.attempt,
        )


def prune(tx: WriteTx, job_id: str) -> list[str]:
    """Forgets those that are neither lasting nor among the latest; their files, to be removed.

    One that another training is still to begin with stays.
    """
    lock(tx, job_id)
    mine = checkpoints.c.job_id == job_id
    oldest_kept = (
        select(checkpoints.c.iteration)
        .where(mine)
        .order_by(checkpoints.c.iteration.desc())
        .limit(1)
        .offset(KEPT - 1)
        .scalar_subquery()
    )
    awaited = (
        select(jobs.c.parent_iteration)
        .where(jobs.c.parent == job_id, jobs.c.state.not_in(FINISHED))
        .scalar_subquery()
    )
    gone = (
        delete(checkpoints)
        .where(
            mine,
            ~checkpoints.c.lasting,
            checkpoints.c.iteration < oldest_kept,
            checkpoints.c.iteration.not_in(awaited),
        )
        .returning(checkpoints.c.file)
    )
    return list(tx.execute(gone).scalars())


def forget(tx: WriteTx, job_id: str, *, after: int) -> list[str]:
    """Forgets those of later iterations than `after`; their files, to be removed."""
    gone = (
        delete(checkpoints)
        .where(checkpoints.c.job_id == job_id, checkpoints.c.iteration > after)
        .returning(checkpoints.c.file)
    )
    return list(tx.execute(gone).scalars())


def files(tx: ReadTx, job_ids: Collection[str]) -> set[str]:
    """The files that rows of these jobs point to."""
    return _of_many(tx, select(checkpoints.c.file), checkpoints.c.job_id, job_ids)


def resting(tx: ReadTx, job_ids: Collection[str]) -> set[str]:
    """Which of the jobs exist and are not running."""
    query = select(jobs.c.id).where(jobs.c.state != State.RUNNING)
    return _of_many(tx, query, jobs.c.id, job_ids)


def _of_many(
    tx: ReadTx, query: Select[Any], column: ColumnElement[str], wanted: Collection[str]
) -> set[str]:
    found: set[str] = set()
    names = sorted(wanted)
    for i in range(0, len(names), MANY):
        some = query.where(column.in_(names[i : i + MANY]))
        found.update(tx.execute(some).scalars())
    return found


def _select() -> Select[Any]:
    names = ("iteration", "file", "bytes", "sha256", "lasting", "job_id", "attempt", "created_at")
    return select(*(checkpoints.c[name] for name in names))
