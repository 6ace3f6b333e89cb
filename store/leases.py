"""What the worker that holds jobs does with them: renew, record, and end them.

Every write carries the lease. Its attempt is the fencing token: once the job has been claimed
again, or is no longer running, a write matches no row, and nothing is written. What is about one
job raises then; `renew` and `record`, which are about many, say which leases are lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import BigInteger, ColumnElement, Row, Update, case, literal, select, tuple_, update

from spec.states import MACHINES, NO_RETRIES, RETRIES, Reason, State
from spec.values import JobId
from store import checkpoints, quarantine, recorded, sweep_moves
from store.checkpoints import Saved
from store.chunks import Chunk
from store.database import WriteTx
from store.history import NOTED, note
from store.instants import from_now, now
from store.leaving import leaving
from store.tables import attempts, jobs


class LeaseLostError(Exception):
    """The job is no longer this worker's: stop, and write nothing more."""


@dataclass(frozen=True)
class Lease:
    """The right to run one job, and the token that proves it."""

    job_id: JobId
    attempt: int
    worker: str

    @property
    def token(self) -> tuple[JobId, int]:
        """What the job's row must hold for a write to match it."""
        return self.job_id, self.attempt


@dataclass(frozen=True)
class Requests:
    """What a client has asked of a running job."""

    cancel: bool = False
    pause: bool = False


@dataclass(frozen=True)
class Renewal:
    """What became of leases; one in neither was just being written to, and is held still.

    Attributes:
        superseded: files of checkpoints to be removed once the transaction has been committed.
        written: bytes of the chunks that were stored.
    """

    kept: Mapping[Lease, Requests]
    lost: Collection[Lease]
    superseded: Sequence[str] = ()
    written: int = 0


@dataclass(frozen=True)
class Progress:
    """What a job has recorded since it was last stored, and how many updates it has made."""

    lease: Lease
    iteration: int
    chunks: Sequence[Chunk]
    checkpoints: Sequence[Saved] = ()


def renew(tx: WriteTx, held: Collection[Lease], *, extend: timedelta) -> Renewal:
    """Keeps leases for `extend` from now.

    It waits for nobody: a row that another transaction writes to is passed over, so that it does
    not cost the other leases.
    """
    return _renew(tx, held, lease_expires=from_now(extend))


def record(tx: WriteTx, news: Sequence[Progress], *, extend: timedelta) -> Renewal:
    """Stores chunks, checkpoints and how far the jobs are, of those whose leases it can `renew`."""
    done = {each.lease.job_id: literal(each.iteration, BigInteger) for each in news}
    saved = {
        each.lease.job_id: literal(each.checkpoints[-1].iteration, BigInteger)
        for each in news
        if each.checkpoints
    }
    renewal = _renew(
        tx,
        [each.lease for each in news],
        lease_expires=from_now(extend),
        iteration=case(done, value=jobs.c.id),
        version=jobs.c.version + 1,
        **_progress(saved),
    )
    kept = [each for each in news if each.lease in renewal.kept]
    parts = [(*each.lease.token, chunk) for each in kept for chunk in each.chunks]
    written = recorded.write(tx, parts)
    superseded: list[str] = []
    for each in kept:
        if each.checkpoints:
            checkpoints.write(tx, each.lease.job_id, each.lease.attempt, each.checkpoints)
            superseded += checkpoints.prune(tx, each.lease.job_id)
    return replace(renewal, superseded=superseded, written=written)


def _progress(saved: Mapping[JobId, ColumnElement[int]]) -> dict[str, ColumnElement[int]]:
    """What a checkpoint changes: from then on, no crash or failure before it counts."""
    if not saved:
        return {}
    columns: dict[str, ColumnElement[int]] = {
        "checkpoint": case(saved, value=jobs.c.id, else_=jobs.c.checkpoint)
    }
    for count in (jobs.c.crashes, jobs.c.failures):
        columns[count.name] = case((jobs.c.id.in_(list(saved)), 0), else_=count)
    return columns


def plan(
    tx: WriteTx,
    lease: Lease,
    *,
    start: int,
    iterations: int,
    resolved: Mapping[str, JsonValue],
) -> None:
    """Stores what became known at the start: where the job begins, its length, its schedule."""
    values = {
        # a plan that is sent again says no more of where the job is
        "iteration": case((jobs.c.iteration < start, start), else_=jobs.c.iteration),
        "iterations": iterations,
        "resolved": dict(resolved),
        "version": jobs.c.version + 1,
    }
    _guarded(tx, lease, values)
    if start:  # an extension begins where its parent was
        tx.execute(_of(lease).values(began=start))


def fall_back(tx: WriteTx, lease: Lease, *, to: int | None, detail: str) -> None:
    """Goes on from an earlier checkpoint, or from the start, since later ones cannot be read.

    What was recorded after it is deleted, as it is at a claim. `detail` stays in the history.
    """
    start = to or 0
    values = {"checkpoint": to, "iteration": start, "version": jobs.c.version + 1}
    row = _guarded(tx, lease, values)
    recorded.forget(tx, lease.job_id, after=start)
    tx.execute(_of(lease).values(began=start))
    note(tx, [row], verb="fall_back", actor=lease.worker, detail=detail)
    checkpoints.forget(tx, lease.job_id, after=start)


def remark(tx: WriteTx, lease: Lease, verb: str, detail: str) -> None:
    """Puts something into the job's history that changes nothing else."""
    row = _guarded(tx, lease, {"version": jobs.c.version + 1})
    note(tx, [row], verb=verb, actor=lease.worker, detail=detail)


def hold(tx: WriteTx, lease: Lease) -> None:
    """Keeps the job this worker's until the transaction ends, for rows that belong to it."""
    _guarded(tx, lease, {"attempt": lease.attempt})  # as it is


def succeed(tx: WriteTx, lease: Lease, result: Mapping[str, JsonValue]) -> None:
    """Ends the job with its result; nothing goes on from a range test that has ended."""
    done = jobs.c.kind == "range_test"
    values = leaving(State.SUCCEEDED) | {
        "result": dict(result),
        "checkpoint": case((done, None), else_=jobs.c.checkpoint),
    }
    row = _leave(tx, lease, "succeed", values, outcome="succeeded")
    quarantine.clear(tx, lease.worker)
    if row.checkpoint is None:
        checkpoints.forget(tx, lease.job_id, after=0)


def fail(tx: WriteTx, lease: Lease, reason: Reason, detail: str) -> None:
    """Ends the job with a reason; where that may pass (`RETRIES`), it is tried again later."""
    policy = RETRIES.get(reason, NO_RETRIES)
    again = (jobs.c.failures < policy.times) & ~jobs.c.cancel_requested
    values = leaving(
        State.FAILED, (again & jobs.c.pause_requested, State.PAUSED), (again, State.QUEUED)
    ) | {
        "failures": case((again, jobs.c.failures + 1), else_=jobs.c.failures),
        "run_after": case((again, from_now(policy.delay)), else_=now()),
        # whatever it was that failed, the jobs that it ran with need not be in it
        "population": case((again, None), else_=jobs.c.population),
        "reason": case((again, None), else_=reason),
        "detail": case((again, None), else_=detail),
    }
    told = f"{reason}: {detail}"
    _leave(tx, lease, "fail", values, outcome="failed", reason=reason, detail=told)
    if reason in MACHINES:
        quarantine.strike(tx, *lease.token, worker=lease.worker)


def confirm_cancel(tx: WriteTx, lease: Lease) -> None:
    """Ends the job as its client asked."""
    _leave(tx, lease, "confirm_cancel", leaving(State.CANCELLED), outcome="cancelled")


def hand_back(
    tx: WriteTx,
    lease: Lease,
    *,
    alone: bool = False,
    delay: timedelta = timedelta(),
    detail: str | None = None,
    broken: bool = False,
) -> None:
    """Leaves the job to whoever claims it next, after a delay; not counted as a crash.

    Its worker shuts down, or its client has asked for a pause, or the job can only be trained
    `alone`, from now on; or the device is `broken`.
    """
    values = leaving(
        State.QUEUED,
        (jobs.c.cancel_requested, State.CANCELLED),
        (jobs.c.pause_requested, State.PAUSED),
    )
    if alone:
        values["population"] = None
    if delay:
        values["run_after"] = from_now(delay)
    _leave(tx, lease, "hand_back", values, outcome="handed_back", detail=detail)
    if broken:
        quarantine.strike(tx, *lease.token, worker=lease.worker)


def _renew(tx: WriteTx, held: Collection[Lease], **values: object) -> Renewal:
    token = (jobs.c.id, jobs.c.attempt)
    mine = (jobs.c.state == State.RUNNING) & tuple_(*token).in_([each.token for each in held])
    free = select(jobs.c.id).where(mine).with_for_update(skip_locked=True).cte("free")
    rows = tx.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(free.c.id)), mine)
        .values(**values)
        .returning(*token, jobs.c.cancel_requested, jobs.c.pause_requested),
    )
    asked = {(job_id, attempt): Requests(*flags) for job_id, attempt, *flags in rows}
    kept = {lease: asked[lease.token] for lease in held if lease.token in asked}
    if len(kept) == len(held):
        return Renewal(kept, lost=())
    still = {tuple(row) for row in tx.execute(select(*token).where(mine))}
    return Renewal(kept, lost=[lease for lease in held if lease.token not in still])


def _guarded(tx: WriteTx, lease: Lease, values: Mapping[str, object]) -> Row[Any]:
    row = tx.execute(
        update(jobs)
        .where(
            jobs.c.id == lease.job_id,
            jobs.c.state == State.RUNNING,
            jobs.c.attempt == lease.attempt,
        )
        .values(**values)
        .returning(*NOTED, jobs.c.checkpoint, jobs.c.sweep),
    ).one_or_none()
    if row is None:
        raise LeaseLostError(f"{lease.job_id} is no longer held by attempt {lease.attempt}")
    return row


def _of(lease: Lease) -> Update:
    c = attempts.c
    return update(attempts).where(c.job_id == lease.job_id, c.attempt == lease.attempt)


def _leave(
    tx: WriteTx,
    lease: Lease,
    verb: str,
    values: Mapping[str, object],
    *,
    outcome: str,
    reason: Reason | None = None,
    detail: str | None = None,
) -> Row[Any]:
    row = _guarded(tx, lease, values)
    note(tx, [row], verb=verb, actor=lease.worker, detail=detail)
    tx.execute(
        _of(lease).values(
            ended_at=now(),
            outcome="paused" if row.state == State.PAUSED else outcome,
            reason=reason,
            iterations=row.iteration,
        )
    )
    if row.sweep is not None and State(row.state).finished:
        sweep_moves.release_next(tx, row.sweep)
    return row
