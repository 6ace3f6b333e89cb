"""What becomes of sweeps: jobs let go as there is room, moves of all of them, the end."""

from datetime import timedelta
from itertools import accumulate, islice

from sqlalchemy import func, select, update

from spec.access import Caller
from spec.states import State
from spec.sweeps import number
from store import moves, sweeps
from store.database import ReadTx, WriteTx
from store.instants import now
from store.jobs import COLUMNS, Job, from_row
from store.moves import CANCEL, PAUSE, RESUME, RETRY, Move
from store.sweeps import Sweep
from store.tables import jobs, trials
from store.tables import sweeps as table

DONE = "every configuration has been chosen"

STUCK = "there is nothing to go on with: "
"""How an ending begins that a retry of the failed jobs may undo."""


class WrongSweepStateError(Exception):
    """The sweep's state does not allow this."""

    def __init__(self, sweep: Sweep, participle: str, why: str = "") -> None:
        super().__init__(f"a sweep that is {sweep.state} cannot be {participle}{why}")


def cancel(tx: WriteTx, sweep_id: str, *, by: Caller) -> Sweep:
    """Ends every job that waits, asks running ones to stop; no more are chosen.

    Raises:
        SweepNotFoundError: there is none.
        WrongSweepStateError: it has succeeded or failed.
    """
    sweep = _mine(tx, sweep_id, by)
    if sweep.state == State.CANCELLED or sweep.cancel_requested:
        return sweep
    _refuse(sweep, CANCEL, State.SUCCEEDED, State.FAILED)
    sweep = sweeps.change(tx, sweep, cancel_requested=True, ending="it was cancelled")
    moves.every(tx, CANCEL, jobs.c.sweep == sweep_id, by=by)
    return settle(tx, sweep)


def pause(tx: WriteTx, sweep_id: str, *, by: Caller) -> Sweep:
    """Holds every job that waits, asks running ones to stop for now, and chooses no more.

    Raises:
        SweepNotFoundError: there is none.
        WrongSweepStateError: it is finished.
    """
    sweep = _mine(tx, sweep_id, by)
    _refuse(sweep, PAUSE, *_finished())
    if sweep.state == State.PAUSED or sweep.cancel_requested:
        return sweep
    for _ in range(2):  # one that ended while the first waited for it may have let another go
        moves.every(tx, PAUSE, (jobs.c.sweep == sweep_id) & ~jobs.c.held, by=by)
    return sweeps.change(tx, sweep, state=State.PAUSED)


def resume(tx: WriteTx, sweep_id: str, *, by: Caller) -> tuple[Sweep, list[Job]]:
    """Lets a paused sweep go on; the jobs that wait for a worker again.

    Raises:
        SweepNotFoundError: there is none.
        WrongSweepStateError: it is finished.
    """
    sweep = _mine(tx, sweep_id, by)
    _refuse(sweep, RESUME, *_finished())
    if sweep.state != State.PAUSED:
        return sweep, []
    freed = moves.every(tx, RESUME, jobs.c.sweep == sweep_id, by=by)
    state = State.RUNNING if sweep.started_at else State.QUEUED
    return sweeps.change(tx, sweep, state=state), freed


def retry(tx: WriteTx, sweep_id: str, *, by: Caller) -> tuple[Sweep, list[Job]]:
    """Queues the failed jobs of a sweep again, and those only; more may then be chosen by them.

    One that goes on and has none stays as it is, as a job that is queued already.

    Raises:
        SweepNotFoundError: there is none.
        WrongSweepStateError: it is paused or being cancelled, has finished and none of its jobs
            failed, or its budget pays for none of them.
    """
    sweep = _mine(tx, sweep_id, by)
    _refuse(sweep, RETRY, State.PAUSED)
    if sweep.cancel_requested and sweep.finished_at is None:
        why = ": it is being cancelled; retry it once its last job has ended"
        raise WrongSweepStateError(sweep, RETRY.participle, why)
    failed = (jobs.c.sweep == sweep_id) & (jobs.c.state == State.FAILED)
    again = moves.every(tx, RETRY, failed, by=by)
    if not again and sweep.finished_at is not None:
        why = ": none of its jobs failed; one that was cancelled can be retried by its own id"
        raise WrongSweepStateError(sweep, RETRY.participle, why)
    seconds, most = _budget(sweep, "seconds"), _budget(sweep, "iterations")
    if again and seconds is not None and sweeps.age(tx, sweep_id) > timedelta(seconds=seconds):
        why = f": its budget of {seconds:g} s is spent; retry a job by its own id"
        raise WrongSweepStateError(sweep, RETRY.participle, why)
    freed = again
    if again and (sweep.parallel is not None or most is not None):
        waiting = (jobs.c.sweep == sweep_id) & (jobs.c.state == State.QUEUED)
        tx.execute(update(jobs).where(waiting).values(held=True))
        limit = None if most is None else affordable(tx, sweep, int(most))
        freed = release(tx, sweep, limit=limit)
        if most is not None and not freed and not under_way(tx, sweep_id):
            why = f": its budget of {most:.0f} iterations pays for none; retry a job by its own id"
            raise WrongSweepStateError(sweep, RETRY.participle, why)
    values: dict[str, object] = {}
    if again and sweep.finished_at is not None:
        values = {"state": State.RUNNING, "finished_at": None, "cancel_requested": False}
    if again and sweep.ending and (sweep.ending == DONE or sweep.ending.startswith(STUCK)):
        values["ending"] = None  # a sampler that learns has something to learn again
    return (sweeps.change(tx, sweep, **values) if values else sweep), freed


def end(tx: WriteTx, sweep: Sweep, why: str, *, by: Caller) -> Sweep:
    """Chooses no more, and stops what is under way; what has ended stays."""
    moves.every(tx, CANCEL, jobs.c.sweep == sweep.id, by=by)
    return sweeps.change(tx, sweep, ending=why)


def under_way(tx: ReadTx, sweep_id: str) -> int:
    """Jobs of a sweep that wait for a worker, run, or are paused."""
    going = jobs.c.state.in_([State.QUEUED, State.RUNNING, State.PAUSED]) & ~jobs.c.held
    query = select(func.count()).select_from(jobs).where(jobs.c.sweep == sweep_id, going)
    return tx.execute(query).scalar_one()


def holds(tx: ReadTx, sweep_id: str) -> bool:
    """Whether a job of a sweep waits to be let go."""
    held = jobs.c.held & (jobs.c.state == State.QUEUED)
    query = select(jobs.c.id).where(jobs.c.sweep == sweep_id, held).limit(1)
    return tx.execute(query).one_or_none() is not None


def affordable(tx: ReadTx, sweep: Sweep, iterations: int) -> int:
    """How many held jobs can be let go so that all that were take no more than these iterations.

    A job that has not said how many it takes counts as the longest of the sweep that has; while
    none has, one is let go at a time.
    """
    known = func.coalesce(jobs.c.iterations, trials.c.iterations)
    mine = trials.join(jobs, jobs.c.id == trials.c.job_id)
    rows = tx.execute(
        select(jobs.c.state, jobs.c.held, jobs.c.iteration, known.label("known"))
        .select_from(mine)
        .where(trials.c.sweep_id == sweep.id)
        .order_by(jobs.c.id)
    ).all()
    longest = max((row.known for row in rows if row.known), default=None)
    spent = under_way = 0
    waiting = []
    for row in rows:
        if State(row.state).finished:
            spent += row.iteration
        elif row.held:
            waiting.append(row.known or longest)
        else:
            under_way += 1
            spent += row.known or longest or 0
    if longest is None:
        return 0 if under_way or spent >= iterations else 1
    total = accumulate((each or longest for each in waiting), initial=spent)
    return sum(each <= iterations for each in islice(total, 1, None))


def release(tx: WriteTx, sweep: Sweep, *, limit: int | None = None) -> list[Job]:
    """Lets held jobs of a locked sweep go, the first chosen first, as far as there is room."""
    if sweep.state == State.PAUSED:
        return []
    room = None if sweep.parallel is None else sweep.parallel - under_way(tx, sweep.id)
    some = [each for each in (room, limit) if each is not None]
    return _let_go(tx, sweep.id, min(some) if some else None)


def stopped(sweep: Sweep) -> bool:
    """Whether a sweep was ended before all that it promised had been chosen and run."""
    return sweep.ending not in {None, DONE}


def release_next(tx: WriteTx, sweep_id: str) -> None:
    """Lets one held job go in the place of one that has just ended, in the same transaction.

    Without the sweep's lock: each that ends lets one go at most, so that counts do not overshoot.
    """
    parallel = select(table.c.parallel).where(
        table.c.id == sweep_id,
        table.c.state != State.PAUSED,
        table.c.one_for_one,
    )
    room = tx.execute(parallel).scalar_one_or_none()
    if room is not None and under_way(tx, sweep_id) < room:
        _let_go(tx, sweep_id, 1)


def settle(tx: WriteTx, sweep: Sweep) -> Sweep:
    """Gives a locked sweep the state that follows from its jobs."""
    counts = sweeps.counts(tx, [sweep.id])[sweep.id]
    values: dict[str, object] = {}
    waiting = counts.get(State.QUEUED, 0) + counts.get(State.PAUSED, 0)
    running = counts.get(State.RUNNING, 0)
    if sweep.started_at is None and (running or waiting < sum(counts.values())):
        values["started_at"] = now()
        if sweep.state == State.QUEUED:
            values["state"] = State.RUNNING
    if sweep.ending and not waiting and not running:
        values["finished_at"] = now()
        values["state"] = State.SUCCEEDED
        if sweep.cancel_requested:
            values["state"] = State.CANCELLED
        elif sweep.ending.startswith(STUCK):
            values["state"] = State.FAILED
        elif not counts.get(State.SUCCEEDED):
            values["state"] = State.FAILED if counts.get(State.FAILED) else State.CANCELLED
    return sweeps.change(tx, sweep, **values) if values else sweep


def _let_go(tx: WriteTx, sweep_id: str, limit: int | None) -> list[Job]:
    if limit is not None and limit <= 0:
        return []
    held = (jobs.c.sweep == sweep_id) & jobs.c.held & (jobs.c.state == State.QUEUED)
    some = (
        select(jobs.c.id)
        .where(held)
        .order_by(jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("some")
    )
    rows = tx.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(some.c.id)), held)
        .values(held=False, run_after=now())
        .returning(*COLUMNS)
    )
    return [from_row(row) for row in rows]


def _budget(sweep: Sweep, name: str) -> float | None:
    """What a sweep may spend of something, whatever the rest of its spec."""
    budget = sweep.spec.get("budget")
    return number(budget.get(name)) if isinstance(budget, dict) else None


def _mine(tx: WriteTx, sweep_id: str, by: Caller) -> Sweep:
    sweeps.get(tx, sweep_id, owner=by.owner)
    locked = sweeps.lock(tx, sweep_id)
    if locked is None:
        raise sweeps.SweepNotFoundError(sweep_id)
    return locked


def _refuse(sweep: Sweep, move: Move, *states: State) -> None:
    if sweep.state in states:
        raise WrongSweepStateError(sweep, move.participle)


def _finished() -> tuple[State, ...]:
    return tuple(state for state in State if state.finished)
