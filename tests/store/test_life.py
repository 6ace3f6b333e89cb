"""The moves of a job, each with the guard that protects it (docs/states.md)."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from spec.states import MOVES, Reason, State
from store import claims, jobs, leases, moves, recovery
from store.database import Sessions
from store.leases import LeaseLostError, Progress, Requests
from store.tables import attempts, chunks
from tests.factories import LEASE, claimed, expired, queued, record, rows, run_out, stored

RESULT = {"iterations": 1}


def outcomes(sessions: Sessions, job_id: str) -> list[tuple[int, str | None]]:
    query = select(attempts.c.attempt, attempts.c.outcome).where(attempts.c.job_id == job_id)
    with sessions.read() as tx:
        return [tuple(row) for row in tx.execute(query.order_by(attempts.c.attempt))]


def test_every_move_is_a_function_of_the_store() -> None:
    homes = {"worker": (claims, leases), "client": (jobs, moves), "reconciler": (recovery,)}
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
    record(sessions, lease, 10, rows(0, 10))
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
    assert outcomes(sessions, job.id) == [(1, "succeeded")]


def test_failure_has_a_reason(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.INVALID, "too large")
    ended = stored(sessions, job.id)
    assert (ended.state, ended.reason, ended.detail) == (State.FAILED, Reason.INVALID, "too large")


def test_hand_back_is_no_crash(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    back = stored(sessions, job.id)
    assert (back.state, back.crashes) == (State.QUEUED, 0)
    assert outcomes(sessions, job.id) == [(1, "handed_back")]


def test_expiry_queues_again_then_fails(sessions: Sessions) -> None:
    job = queued(sessions)
    for crash in (1, 2):
        claimed(sessions)
        run_out(sessions, job.id)
        assert [each.id for each in expired(sessions)] == [job.id]
        lost = stored(sessions, job.id)
        assert (lost.state, lost.crashes) == (State.QUEUED, crash)
    claimed(sessions)
    run_out(sessions, job.id)
    expired(sessions)
    dead = stored(sessions, job.id)
    assert (dead.state, dead.reason, dead.crashes) == (State.FAILED, Reason.WORKER_LOST, 3)
    assert outcomes(sessions, job.id) == [(1, "lost"), (2, "lost"), (3, "lost")]


def test_expiry_leaves_a_renewed_lease(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    run_out(sessions, lease.job_id)
    with sessions.begin() as tx:
        assert leases.renew(tx, [lease], extend=LEASE).kept == {lease: Requests()}
    assert expired(sessions) == []


def test_a_lost_worker_writes_nothing(sessions: Sessions) -> None:
    job = queued(sessions)
    first = claimed(sessions)
    run_out(sessions, job.id)
    expired(sessions)
    writes = [
        lambda tx: leases.plan(tx, first, start=0, iterations=5, resolved={}),
        lambda tx: leases.fall_back(tx, first, to=None, detail=""),
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


def test_retry_keeps_the_attempt(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    for _ in range(2):
        with sessions.begin() as tx:
            again = moves.retry(tx, job.id)
        assert (again.state, again.attempt, again.reason) == (State.QUEUED, 1, None)
    assert claimed(sessions).attempt == 2


def test_retry_of_a_success_is_refused(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, RESULT)
    with pytest.raises(jobs.WrongStateError), sessions.begin() as tx:
        moves.retry(tx, job.id)


def test_only_finished_jobs_are_deleted(sessions: Sessions) -> None:
    job = queued(sessions, tags={"project": "demo"})
    lease = claimed(sessions)
    record(sessions, lease, 3, rows(0, 3))
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
    record(sessions, lease, 3, rows(0, 3))
    record(sessions, lease, 5, rows(0, 5))
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.start, chunks.c.stop)).all() == [(0, 5)]


def test_an_older_attempt_overwrites_no_chunk(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 3, rows(0, 3))
    with sessions.begin() as tx:
        tx.execute(update(chunks).values(attempt=2))
    record(sessions, lease, 5, rows(0, 5))
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.stop, chunks.c.attempt)).all() == [(3, 2)]


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
        assert recovery.ready(tx) == {("default", ""): 1, ("gpu", ""): 1}
