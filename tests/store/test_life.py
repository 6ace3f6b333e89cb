"""The moves of a job, each with the guard that protects it (docs/states.md)."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from spec.states import MOVES, Reason, State
from store import claims, jobs, leases, recovery
from store.chunks import Chunk
from store.database import Sessions
from store.instants import from_now
from store.leases import Lease, LeaseLostError, Progress
from store.tables import attempts, chunks
from store.tables import jobs as table
from tests.factories import LEASE, claimed, queued, stored

RESULT = {"iterations": 1}


def rows(start: int, count: int) -> Chunk:
    columns = {"loss": np.ones(count, np.float32), "lr": np.ones(count)}
    return Chunk("train", 0, start, columns)


def record(sessions: Sessions, lease: Lease, *new: Chunk, iteration: int = 1) -> bool:
    with sessions.begin() as tx:
        renewal = leases.record(tx, [Progress(lease, iteration, new)], extend=LEASE)
    return renewal.kept[lease]


def run_out(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as tx:
        past = from_now(timedelta(seconds=-1))
        tx.execute(update(table).where(table.c.id == job_id).values(lease_expires=past))


def expire(sessions: Sessions, *, max_crashes: int = 3) -> list[jobs.Job]:
    with sessions.begin() as tx:
        return recovery.expire(tx, max_crashes=max_crashes)


def history(sessions: Sessions, job_id: str) -> list[tuple[int, str | None]]:
    query = select(attempts.c.attempt, attempts.c.outcome).where(attempts.c.job_id == job_id)
    with sessions.read() as tx:
        return [tuple(row) for row in tx.execute(query.order_by(attempts.c.attempt))]


def test_every_move_is_a_function_of_the_store() -> None:
    homes = {"worker": (claims, leases), "client": (jobs,), "reconciler": (recovery,)}
    for move in MOVES:
        assert any(callable(getattr(home, move.verb, None)) for home in homes[move.actor]), move


def test_claim_takes_by_priority_then_age(sessions: Sessions) -> None:
    old = queued(sessions)
    new = queued(sessions)
    urgent = queued(sessions, priority=5)
    order = [claimed(sessions).job_id for _ in range(3)]
    assert order == [urgent.id, old.id, new.id]
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE) is None


def test_claim_serves_its_queues_only(sessions: Sessions) -> None:
    queued(sessions, queue="gpu")
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE) is None
        assert claims.claim(tx, worker="w", queues=["default", "gpu"], lease=LEASE) is not None


def test_claim_starts_the_series_over(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, rows(0, 10), iteration=10)
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    second = claimed(sessions)
    assert second.attempt == 2
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.start)).all() == []
    assert stored(sessions, job.id).iteration == 0


def test_success_ends_with_a_result(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, RESULT)
    ended = stored(sessions, job.id)
    assert (ended.state, ended.result, ended.lease_owner) == (State.SUCCEEDED, RESULT, None)
    assert ended.finished_at is not None
    assert history(sessions, job.id) == [(1, "succeeded")]


def test_failure_has_a_reason(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.OOM, "too large")
    ended = stored(sessions, job.id)
    assert (ended.state, ended.reason, ended.detail) == (State.FAILED, Reason.OOM, "too large")


def test_hand_back_is_no_crash(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    back = stored(sessions, job.id)
    assert (back.state, back.crashes) == (State.QUEUED, 0)
    assert history(sessions, job.id) == [(1, "handed_back")]


def test_hand_back_of_a_job_to_be_cancelled_cancels_it(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        jobs.cancel(tx, job.id)
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    assert stored(sessions, job.id).state == State.CANCELLED


def test_expiry_queues_again_then_fails(sessions: Sessions) -> None:
    job = queued(sessions)
    for crash in (1, 2):
        claimed(sessions)
        run_out(sessions, job.id)
        assert [each.id for each in expire(sessions)] == [job.id]
        lost = stored(sessions, job.id)
        assert (lost.state, lost.crashes) == (State.QUEUED, crash)
    claimed(sessions)
    run_out(sessions, job.id)
    expire(sessions)
    dead = stored(sessions, job.id)
    assert (dead.state, dead.reason, dead.crashes) == (State.FAILED, Reason.WORKER_LOST, 3)
    assert history(sessions, job.id) == [(1, "lost"), (2, "lost"), (3, "lost")]


def test_expiry_leaves_a_renewed_lease(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    run_out(sessions, lease.job_id)
    with sessions.begin() as tx:
        assert leases.renew(tx, [lease], extend=LEASE).kept == {lease: False}
    assert expire(sessions) == []


def test_expiry_of_a_job_to_be_cancelled_cancels_it(sessions: Sessions) -> None:
    job = queued(sessions)
    claimed(sessions)
    with sessions.begin() as tx:
        jobs.cancel(tx, job.id)
    run_out(sessions, job.id)
    expire(sessions)
    assert stored(sessions, job.id).state == State.CANCELLED


def test_a_lost_worker_writes_nothing(sessions: Sessions) -> None:
    job = queued(sessions)
    first = claimed(sessions)
    run_out(sessions, job.id)
    expire(sessions)
    writes = [
        lambda tx: leases.plan(tx, first, iterations=5, resolved={}),
        lambda tx: leases.succeed(tx, first, RESULT),
        lambda tx: leases.fail(tx, first, Reason.CODE, ""),
        lambda tx: leases.hand_back(tx, first),
        lambda tx: leases.confirm_cancel(tx, first),
    ]
    for expected in (State.QUEUED, State.RUNNING):
        for write in writes:
            with pytest.raises(LeaseLostError), sessions.begin() as tx:
                write(tx)
        with sessions.begin() as tx:
            news = [Progress(first, 5, [rows(0, 5)])]
            for renewal in (
                leases.renew(tx, [first], extend=LEASE),
                leases.record(tx, news, extend=LEASE),
            ):
                assert (renewal.kept, renewal.lost) == ({}, [first])
        assert stored(sessions, job.id).state == expected
        if expected == State.QUEUED:
            claimed(sessions, worker="w2")
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.start)).all() == []


def test_cancel_in_every_state(sessions: Sessions) -> None:
    waiting = queued(sessions)
    with sessions.begin() as tx:
        assert jobs.cancel(tx, waiting.id).state == State.CANCELLED
    with sessions.begin() as tx:  # and again
        assert jobs.cancel(tx, waiting.id).state == State.CANCELLED

    running = queued(sessions)
    lease = claimed(sessions)
    for _ in range(2):
        with sessions.begin() as tx:
            asked = jobs.cancel(tx, running.id)
        assert (asked.state, asked.cancel_requested) == (State.RUNNING, True)
    assert record(sessions, lease) is True
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, lease)
    assert stored(sessions, running.id).state == State.CANCELLED

    done = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, RESULT)
    refused = pytest.raises(jobs.WrongStateError, match="succeeded cannot be cancelled")
    with refused, sessions.begin() as tx:
        jobs.cancel(tx, done.id)
    with pytest.raises(jobs.JobNotFoundError), sessions.begin() as tx:
        jobs.cancel(tx, "job_none")


def test_retry_keeps_the_attempt(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    for _ in range(2):
        with sessions.begin() as tx:
            again = jobs.retry(tx, job.id)
        assert (again.state, again.attempt, again.reason) == (State.QUEUED, 1, None)
    assert claimed(sessions).attempt == 2


def test_retry_of_a_success_is_refused(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, RESULT)
    with pytest.raises(jobs.WrongStateError), sessions.begin() as tx:
        jobs.retry(tx, job.id)


def test_only_finished_jobs_are_deleted(sessions: Sessions) -> None:
    job = queued(sessions, tags={"project": "demo"})
    lease = claimed(sessions)
    record(sessions, lease, rows(0, 3))
    with pytest.raises(jobs.WrongStateError), sessions.begin() as tx:
        jobs.remove(tx, job.id)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, RESULT)
    with sessions.begin() as tx:
        jobs.remove(tx, job.id)
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.start)).all() == []
        assert tx.execute(select(attempts.c.attempt)).all() == []
    with pytest.raises(jobs.JobNotFoundError):
        stored(sessions, job.id)


def test_a_repeated_write_of_a_chunk_replaces_it(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, rows(0, 3))
    record(sessions, lease, rows(0, 5))
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.start, chunks.c.stop)).all() == [(0, 5)]


def test_an_older_attempt_overwrites_no_chunk(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, rows(0, 3))
    with sessions.begin() as tx:
        tx.execute(update(chunks).values(attempt=2))
    record(sessions, lease, rows(0, 5))
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.stop, chunks.c.attempt)).all() == [(3, 2)]


@pytest.mark.parametrize(
    "broken",
    [
        {"state": "running"},
        {"state": "failed"},
        {"state": "succeeded"},
        {"state": "asleep"},
        {"attempt": -1},
        {"cancel_requested": True},
    ],
)
def test_constraints_refuse_rows_that_no_move_makes(
    sessions: Sessions,
    broken: dict[str, object],
) -> None:
    job = queued(sessions)
    with pytest.raises(IntegrityError), sessions.begin() as tx:
        tx.execute(update(table).where(table.c.id == job.id).values(**broken))


def test_two_reconcilers_one_leader(sessions: Sessions) -> None:
    def lead(holder: str, seconds: float) -> bool:
        with sessions.begin() as tx:
            length = timedelta(seconds=seconds)
            return recovery.lead(tx, name="reconciler", holder=holder, lease=length)

    assert lead("a", 60)
    assert not lead("b", 60)
    assert lead("a", -1)  # lets its leadership run out
    assert lead("b", 60)
    assert not lead("a", 60)


def test_ready_counts_by_queue(sessions: Sessions) -> None:
    queued(sessions)
    queued(sessions)
    queued(sessions, queue="gpu")
    claimed(sessions)
    with sessions.read() as tx:
        assert recovery.ready(tx) == {"default": 1, "gpu": 1}
