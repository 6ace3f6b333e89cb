"""What happened to a job, in order and by whom, and how long it has run."""

from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from spec.states import Reason, State
from store import history, jobs, leases, moves
from store.database import Sessions
from store.history import Attempt, Change
from store.instants import from_now
from store.leases import Lease
from store.tables import attempts
from tests.factories import claimed, expired, queued, record, run_out, saved, stored

MINUTE = timedelta(minutes=1)


def changes(sessions: Sessions, job_id: str, *, limit: int = 99) -> list[Change]:
    with sessions.read() as tx:
        return history.changes(tx, job_id, limit=limit)


def attempts_of(sessions: Sessions, job_id: str, *, limit: int = 99) -> list[Attempt]:
    with sessions.read() as tx:
        return history.attempts_of(tx, job_id, limit=limit)


def spent(sessions: Sessions, job_id: str) -> timedelta:
    with sessions.read() as tx:
        return history.spent(tx, job_id)


def lasting(sessions: Sessions, lease: Lease, length: timedelta) -> None:
    """Hands a job back, as if it had run for so long."""
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    (*_, last) = attempts_of(sessions, lease.job_id)
    with sessions.begin() as tx:
        tx.execute(
            update(attempts)
            .where(attempts.c.job_id == lease.job_id, attempts.c.attempt == lease.attempt)
            .values(ended_at=last.started_at + length),
        )


def lived(sessions: Sessions) -> str:
    """A job to which everything has happened."""
    job = queued(sessions)
    with sessions.begin() as tx:
        moves.pause(tx, job.id)
        moves.resume(tx, job.id)
    first = claimed(sessions, worker="w1")
    record(sessions, first, 9, checkpoints=[saved(4), saved(8)])
    with sessions.begin() as tx:
        moves.pause(tx, job.id)
        moves.resume(tx, job.id)
        moves.pause(tx, job.id)
    with sessions.begin() as tx:
        leases.hand_back(tx, first)
        moves.resume(tx, job.id)
    second = claimed(sessions, worker="w2")
    with sessions.begin() as tx:
        leases.fall_back(tx, second, to=4, detail="1-8.ckpt: wrong checksum")
    run_out(sessions, job.id)
    expired(sessions)
    third = claimed(sessions, worker="w3")
    with sessions.begin() as tx:
        leases.fail(tx, third, Reason.CODE, "broken")
        moves.retry(tx, job.id)
    fourth = claimed(sessions, worker="w4")
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
        leases.confirm_cancel(tx, fourth)
        moves.retry(tx, job.id)
    fifth = claimed(sessions, worker="w5")
    with sessions.begin() as tx:
        leases.succeed(tx, fifth, {})
    return job.id


def test_a_whole_life(sessions: Sessions) -> None:
    found = changes(sessions, lived(sessions))
    running, queue = State.RUNNING, State.QUEUED
    assert [
        (each.verb, each.actor, each.state, each.attempt, each.iteration) for each in found
    ] == [
        ("submit", "client", queue, 0, 0),
        ("pause", "client", State.PAUSED, 0, 0),
        ("resume", "client", queue, 0, 0),
        ("claim", "w1", running, 1, 0),
        ("pause", "client", running, 1, 9),
        ("resume", "client", running, 1, 9),
        ("pause", "client", running, 1, 9),
        ("hand_back", "w1", State.PAUSED, 1, 9),
        ("resume", "client", queue, 1, 9),
        ("claim", "w2", running, 2, 8),
        ("fall_back", "w2", running, 2, 4),
        ("expire", "reconciler", queue, 2, 4),
        ("claim", "w3", running, 3, 4),
        ("fail", "w3", State.FAILED, 3, 4),
        ("retry", "client", queue, 3, 4),
        ("claim", "w4", running, 4, 4),
        ("cancel", "client", running, 4, 4),
        ("confirm_cancel", "w4", State.CANCELLED, 4, 4),
        ("retry", "client", queue, 4, 4),
        ("claim", "w5", running, 5, 4),
        ("succeed", "w5", State.SUCCEEDED, 5, 4),
    ]
    assert all(before.at <= after.at for before, after in pairwise(found))
    told = {each.verb: each.detail for each in found if each.detail}
    assert told == {"fall_back": "1-8.ckpt: wrong checksum", "fail": "code: broken"}


def test_the_attempts_of_a_whole_life(sessions: Sessions) -> None:
    found = attempts_of(sessions, lived(sessions))
    fields = [(each.worker, each.outcome, each.began, each.iterations) for each in found]
    assert fields == [
        ("w1", "paused", 0, 9),
        ("w2", "lost", 4, 4),
        ("w3", "failed", 4, 4),
        ("w4", "cancelled", 4, 4),
        ("w5", "succeeded", 4, 4),
    ]
    assert [each.attempt for each in found] == [1, 2, 3, 4, 5]
    assert [each.reason for each in found] == [None, None, "code", None, None]
    # a lost one ended with its lease, which the test has set into the past
    assert all(each.outcome == "lost" or each.started_at <= each.ended_at for each in found)


def test_only_the_latest_are_told(sessions: Sessions) -> None:
    job_id = lived(sessions)
    assert changes(sessions, job_id, limit=3) == changes(sessions, job_id)[-3:]
    assert attempts_of(sessions, job_id, limit=2) == attempts_of(sessions, job_id)[-2:]
    assert changes(sessions, "job_none") == attempts_of(sessions, "job_none") == []


def test_what_changes_nothing_is_not_told(sessions: Sessions) -> None:
    job = queued(sessions)
    for ask in (moves.resume, moves.retry, moves.pause, moves.pause, moves.cancel, moves.cancel):
        with sessions.begin() as tx:
            ask(tx, job.id)
    assert [each.verb for each in changes(sessions, job.id)] == ["submit", "pause", "cancel"]


def test_a_client_cannot_make_it_grow_for_ever(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 5)
    job, other = queued(sessions), queued(sessions)
    for _ in range(4):
        with sessions.begin() as tx:
            moves.pause(tx, job.id)
            moves.resume(tx, job.id)
    assert [each.verb for each in changes(sessions, job.id)] == [
        "resume", "pause", "resume", "pause", "resume",
    ]  # fmt: skip
    assert [each.verb for each in changes(sessions, other.id)] == ["submit"]


def test_it_goes_with_its_job(sessions: Sessions) -> None:
    job_id = lived(sessions)
    with sessions.begin() as tx:
        jobs.remove(tx, job_id)
    assert changes(sessions, job_id) == attempts_of(sessions, job_id) == []


def test_the_time_of_all_attempts_that_have_ended_is_spent(sessions: Sessions) -> None:
    job = queued(sessions)
    assert spent(sessions, job.id) == timedelta()
    lasting(sessions, claimed(sessions), MINUTE)
    lasting(sessions, claimed(sessions), MINUTE / 2)
    lease = claimed(sessions)
    assert spent(sessions, job.id) == 1.5 * MINUTE
    other = queued(sessions)
    assert spent(sessions, other.id) == timedelta()
    with sessions.begin() as tx:
        mine = attempts.c.attempt == lease.attempt
        tx.execute(update(attempts).where(mine).values(started_at=from_now(-MINUTE)))
    run_out(sessions, lease.job_id)  # a second ago
    expired(sessions)
    assert 2.4 * MINUTE < spent(sessions, job.id) < 2.5 * MINUTE


def test_a_retry_grants_the_time_anew(sessions: Sessions) -> None:
    job = queued(sessions)
    lasting(sessions, claimed(sessions), MINUTE)
    for ask in (moves.pause, moves.resume):
        with sessions.begin() as tx:
            ask(tx, job.id)
    assert spent(sessions, job.id) == MINUTE
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
        moves.retry(tx, job.id)
    assert spent(sessions, job.id) == timedelta()
    lasting(sessions, claimed(sessions), 2 * MINUTE)
    assert spent(sessions, job.id) == 2 * MINUTE
    assert stored(sessions, job.id).attempt == 2
