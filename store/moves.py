"""The moves that clients make (docs/states.md), of one job or of all that belong together."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, update

from spec.access import ANYONE, Caller
from spec.states import FINISHED, State
from store.database import WriteTx
from store.history import note
from store.instants import now
from store.jobs import COLUMNS, Job, WrongStateError, from_row, get
from store.tables import jobs


@dataclass(frozen=True)
class Move:
    """What a client asks for: which jobs it changes, into what, and which refuse it."""

    verb: str
    participle: str
    guard: ColumnElement[bool]
    values: Mapping[str, object]
    refused: frozenset[State]


_WAITING = jobs.c.state.in_([State.QUEUED, State.PAUSED])
_RUNNING = jobs.c.state == State.RUNNING
_PAUSED = jobs.c.state == State.PAUSED

CANCEL = Move(
    "cancel",
    "cancelled",
    (_WAITING | _RUNNING) & ~jobs.c.cancel_requested,
    {
        "state": case((_WAITING, State.CANCELLED), else_=jobs.c.state),
        "finished_at": case((_WAITING, now()), else_=None),
        "cancel_requested": True,
    },
    frozenset({State.SUCCEEDED, State.FAILED}),
)
PAUSE = Move(
    "pause",
    "paused",
    (_RUNNING | (jobs.c.state == State.QUEUED))
    & ~jobs.c.pause_requested
    & ~jobs.c.cancel_requested,
    {
        "state": case((_RUNNING, jobs.c.state), else_=State.PAUSED),
        "pause_requested": _RUNNING,
    },
    FINISHED,
)
RESUME = Move(
    "resume",
    "resumed",
    _PAUSED | jobs.c.pause_requested,
    {
        "state": case((_PAUSED, State.QUEUED), else_=jobs.c.state),
        "run_after": case((_PAUSED, now()), else_=jobs.c.run_after),
        "pause_requested": False,
    },
    FINISHED,
)
RETRY = Move(
    "retry",
    "retried",
    jobs.c.state.in_([State.FAILED, State.CANCELLED]),
    {
        "state": State.QUEUED,
        "crashes": 0,
        "failures": 0,
        "cancel_requested": False,
        "held": False,
        "reason": None,
        "detail": None,
        "run_after": now(),
        "started_at": None,
        "finished_at": None,
        "iteration": func.coalesce(jobs.c.checkpoint, 0),
    },
    frozenset({State.SUCCEEDED, State.PAUSED}),
)


def cancel(tx: WriteTx, job_id: str, *, by: Caller = ANYONE) -> Job:
    """Ends a job that waits, asks a running one to stop; a cancelled one stays as it is.

    Raises:
        JobNotFoundError: there is none.
        WrongStateError: the job has succeeded or failed.
    """
    return _one(tx, CANCEL, job_id, by)


def pause(tx: WriteTx, job_id: str, *, by: Caller = ANYONE) -> Job:
    """Holds a waiting job, asks a running one to stop for now; a paused one stays as it is.

    Raises:
        JobNotFoundError: there is none.
        WrongStateError: the job is finished.
    """
    return _one(tx, PAUSE, job_id, by)


def resume(tx: WriteTx, job_id: str, *, by: Caller = ANYONE) -> Job:
    """Queues a paused job, or takes back that a running one is to pause; others stay as they are.

    Raises:
        JobNotFoundError: there is none.
        WrongStateError: the job is finished.
    """
    return _one(tx, RESUME, job_id, by)


def retry(tx: WriteTx, job_id: str, *, by: Caller = ANYONE) -> Job:
    """Queues a failed or cancelled job again; one that is queued or running stays as it is.

    It goes on from its last checkpoint. The attempt is not reset: it is what fences the writes of
    workers that were lost.

    Raises:
        JobNotFoundError: there is none.
        WrongStateError: the job has succeeded, or is paused.
    """
    return _one(tx, RETRY, job_id, by)


def every(tx: WriteTx, move: Move, which: ColumnElement[bool], *, by: Caller) -> list[Job]:
    """Makes a move of all jobs of the caller's that are so, and that it changes."""
    rows = tx.execute(
        update(jobs)
        .where(which, move.guard, jobs.c.owner == by.owner)
        .values(version=jobs.c.version + 1, **move.values)
        .returning(*COLUMNS),
    ).all()
    note(tx, rows, verb=move.verb, actor=by.name)
    return [from_row(row) for row in rows]


def _one(tx: WriteTx, move: Move, job_id: str, by: Caller) -> Job:
    if changed := every(tx, move, jobs.c.id == job_id, by=by):
        return changed[0]
    job = get(tx, job_id, owner=by.owner)
    if job.state in move.refused:
        raise WrongStateError(job, move.participle)
    return job
