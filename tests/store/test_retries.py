"""What is tried again by itself after a failure, how often, and when (`spec.states.RETRIES`)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from spec.states import RETRIES, Reason, State
from store import claims, history, jobs, leases, moves, pages, recovery
from store.database import Sessions
from store.instants import now
from store.leases import Lease
from store.tables import jobs as table
from tests.factories import LEASE, claimed, queued, record, saved, stored


def run_after(sessions: Sessions, job_id: str) -> datetime:
    query = select(table.c.run_after).where(table.c.id == job_id)
    with sessions.read() as tx:
        found: datetime = tx.execute(query).scalar_one()
    return found


def failed(sessions: Sessions, lease: Lease, reason: Reason) -> jobs.Job:
    with sessions.begin() as tx:
        leases.fail(tx, lease, reason, "too much")
    return stored(sessions, lease.job_id)


def waited(sessions: Sessions) -> None:
    """Lets the delays of all jobs pass."""
    with sessions.begin() as tx:
        tx.execute(update(table).values(run_after=now()))


def ready(sessions: Sessions) -> int:
    with sessions.read() as tx:
        return sum(recovery.ready(tx).values())


@pytest.mark.parametrize("reason", Reason)
def test_a_failure_is_followed_by_as_many_attempts_as_the_policy_says(
    sessions: Sessions, reason: Reason
) -> None:
    job = queued(sessions)
    times = RETRIES[reason].times if reason in RETRIES else 0
    for count in range(1, times + 1):
        before = datetime.now(UTC)
        again = failed(sessions, claimed(sessions), reason)
        assert (again.state, again.reason, again.detail) == (State.QUEUED, None, None)
        assert (again.failures, again.crashes) == (count, 0)
        assert again.started_at is again.finished_at is None
        delay = RETRIES[reason].delay
        slack = timedelta(seconds=1)
        assert before + delay - slack < run_after(sessions, job.id) < before + delay + 5 * slack
        assert ready(sessions) == 0
        with sessions.begin() as tx:
            assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE) is None
        waited(sessions)
        assert ready(sessions) == 1
    end = failed(sessions, claimed(sessions), reason)
    assert (end.state, end.reason, end.detail) == (State.FAILED, reason, "too much")
    assert end.failures == times
    with sessions.read() as tx:
        assert [each.reason for each in history.attempts_of(tx, job.id, limit=9)] == [reason] * (
            times + 1
        )
        told = [each.detail for each in history.changes(tx, job.id, limit=9) if each.detail]
    assert told == [f"{reason}: too much"] * (times + 1)


def test_every_policy_that_retries_waits_first() -> None:
    assert RETRIES
    assert all(each.times > 0 and each.delay > timedelta() for each in RETRIES.values())


def test_what_may_pass_goes_on_from_the_checkpoint(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 7, checkpoints=[saved(5)])
    failed(sessions, lease, Reason.OOM)
    waited(sessions)
    assert stored(sessions, claimed(sessions).job_id).iteration == 5


def test_a_job_that_failed_among_others_is_tried_again_alone(sessions: Sessions) -> None:
    queued(sessions, population=True)
    assert failed(sessions, claimed(sessions), Reason.OOM).population is None
    queued(sessions, population=True)
    assert failed(sessions, claimed(sessions), Reason.CODE).population is not None


def test_a_retry_by_the_client_resets_the_count_and_the_delay(sessions: Sessions) -> None:
    job = queued(sessions)
    failed(sessions, claimed(sessions), Reason.OOM)
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
        again = moves.retry(tx, job.id)
    assert (again.state, again.failures) == (State.QUEUED, 0)
    assert ready(sessions) == 1
    assert failed(sessions, claimed(sessions), Reason.OOM).failures == 1


def test_a_job_that_was_to_stop_is_not_tried_again(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
    end = failed(sessions, lease, Reason.OOM)
    assert (end.state, end.reason, end.failures) == (State.FAILED, Reason.OOM, 0)


def test_a_job_that_was_to_pause_is_paused_and_tried_again_later(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        moves.pause(tx, job.id)
    held = failed(sessions, lease, Reason.OOM)
    assert (held.state, held.reason, held.failures) == (State.PAUSED, None, 1)
    with sessions.begin() as tx:
        moves.resume(tx, job.id)
    waited(sessions)
    assert failed(sessions, claimed(sessions), Reason.OOM).state == State.FAILED


def test_a_job_may_be_handed_back_for_later(sessions: Sessions) -> None:
    job = queued(sessions)
    with sessions.begin() as tx:
        lease = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
        assert lease is not None
        leases.hand_back(tx, lease[1], delay=LEASE, detail="the database was away")
    assert ready(sessions) == 0
    with sessions.read() as tx:
        assert history.changes(tx, job.id, limit=1)[0].detail == "the database was away"
    waited(sessions)
    assert claimed(sessions).job_id == job.id


def test_a_worker_hands_back_all_that_it_holds_and_nothing_else(sessions: Sessions) -> None:
    for worker in ("w1", "w2", "w1"):
        queued(sessions)
        claimed(sessions, worker=worker)
    with sessions.begin() as tx:
        claims.unclaim(tx, "w1")
        claims.unclaim(tx, "w3")
    with sessions.read() as tx:
        found = pages.find(tx, limit=9)
    assert [job.state for job in found] == [State.QUEUED, State.RUNNING, State.QUEUED]
    assert {job.crashes for job in found} == {0}
