"""A device that loses job after job is left out for a while; a bad job takes no device along."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from spec.access import ANYONE
from spec.needs import Offer
from spec.states import Reason
from spec.values import JobId
from store import claims, jobs, leases, quarantine, recovery, workers
from store.database import Sessions
from store.instants import from_now
from store.jobs import Job
from store.leases import Lease
from store.tables import jobs as table
from store.tables import quarantines, strikes
from store.tables import workers as workers_table
from tests.factories import LEASE, record, saved, spec

FOR_EVER = 1000


def reported(sessions: Sessions, name: str, unit: str | None = "same") -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name=name,
            device="cuda:0",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
            offer=Offer(gpus=1),
            unit=f"GPU-{name}" if unit == "same" else unit,
        )


@pytest.fixture(autouse=True)
def pool(sessions: Sessions) -> None:
    for name in ("a", "b"):
        reported(sessions, name)


def claim(sessions: Sessions, name: str = "a", job: Job | None = None) -> Lease | None:
    """Takes that very job, or the best."""
    with sessions.begin() as tx:
        if job is not None:
            tx.execute(update(table).values(priority=0))
            tx.execute(update(table).where(table.c.id == job.id).values(priority=1))
        claimed = claims.claim(tx, worker=name, queues=["default"], lease=LEASE, unit=f"GPU-{name}")
    return claimed and claimed[1]


def added(sessions: Sessions, **changes: Any) -> Job:
    with sessions.begin() as tx:
        return jobs.add(tx, spec(**changes), by=ANYONE)


def expire(sessions: Sessions, *job_ids: JobId) -> None:
    with sessions.begin() as tx:
        tx.execute(
            update(table)
            .where(table.c.id.in_(job_ids))
            .values(lease_expires=from_now(-timedelta(seconds=1)))
        )
        recovery.expire(tx, max_crashes=FOR_EVER)


def lose(sessions: Sessions, name: str = "a", job: Job | None = None) -> JobId:
    lease = claim(sessions, name, job or added(sessions))
    assert lease is not None
    expire(sessions, lease.job_id)
    return lease.job_id


def succeed(sessions: Sessions, name: str) -> None:
    lease = claim(sessions, name, added(sessions))
    assert lease is not None
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})


def let_go(sessions: Sessions) -> None:
    """The time of every quarantine is over."""
    with sessions.begin() as tx:
        tx.execute(update(quarantines).values(until=from_now(-timedelta(seconds=1))))


def state(sessions: Sessions, name: str = "a") -> tuple[str, int | None]:
    """The worker's state, and for how many minutes its device is left out, rounded up."""
    with sessions.read() as tx:
        found = {each.name: each for each in workers.find(tx, lost_after=LEASE)}[name]
    if found.quarantine is None:
        return found.state, None
    left = (found.quarantine.until - datetime.now(UTC)).total_seconds()
    return found.state, round(left / 60)


def test_three_jobs_lost_in_a_row_are_enough(sessions: Sessions) -> None:
    lose(sessions)
    lose(sessions)
    assert state(sessions) == ("idle", None)
    lose(sessions)
    assert state(sessions) == ("quarantined", 1)
    assert state(sessions, "b") == ("idle", None)
    assert claim(sessions, "a") is None
    assert claim(sessions, "b") is not None


def test_the_only_device_is_never_left_out_for_long(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        tx.execute(delete(workers_table).where(workers_table.c.name == "b"))
    for _ in range(3):
        lose(sessions)
    for _ in range(3):
        assert state(sessions) == ("quarantined", 1)
        let_go(sessions)
        lose(sessions)


def test_a_success_in_between_forgives(sessions: Sessions) -> None:
    for _ in range(3):
        lose(sessions)
        lose(sessions)
        succeed(sessions, "a")
    assert state(sessions) == ("idle", None)


def test_one_bad_job_alone_does_no_harm(sessions: Sessions) -> None:
    job = added(sessions)
    for name in "aaaabbbbaabb":
        lose(sessions, name, job)
    assert state(sessions, "a") == state(sessions, "b") == ("idle", None)


def test_bad_jobs_that_go_from_one_to_the_other_are_found_out(sessions: Sessions) -> None:
    bad = [added(sessions) for _ in range(3)]
    for job in bad:
        lose(sessions, "a", job)
    assert state(sessions, "a")[0] == "quarantined"
    lose(sessions, "b", bad[0])  # it was not the device
    assert state(sessions, "a") == state(sessions, "b") == ("idle", None)


def test_each_time_is_longer_and_a_success_is_the_end_of_it(sessions: Sessions) -> None:
    job = added(sessions)
    for _ in range(3):
        lose(sessions)
    for minutes in (5, 30, 30):
        let_go(sessions)
        assert state(sessions) == ("idle", None)
        lose(sessions, "a", job)
        assert state(sessions) == ("quarantined", minutes)
    let_go(sessions)
    succeed(sessions, "a")
    lose(sessions)
    lose(sessions)
    assert state(sessions) == ("idle", None)


def test_leases_that_run_out_during_a_quarantine_do_not_make_it_longer(sessions: Sessions) -> None:
    held = [claim(sessions, "a", added(sessions)) for _ in range(6)]
    for lease in held:
        assert lease is not None
        expire(sessions, lease.job_id)
    assert state(sessions) == ("quarantined", 1)


def test_a_restarted_process_on_the_same_device_is_left_out_too(sessions: Sessions) -> None:
    for _ in range(3):
        lose(sessions)
    with sessions.begin() as tx:
        workers.leave(tx, "a")
        found = claims.claim(tx, worker="a2", queues=["default"], lease=LEASE, unit="GPU-a")
    assert found is None
    reported(sessions, "a2", "GPU-a")
    assert state(sessions, "a2")[0] == "quarantined"


def test_jobs_that_train_together_are_lost_as_one(sessions: Sessions) -> None:
    grid = [
        added(sessions, population=True, schedule={"policy": "constant", "lr": lr / 10})
        for lr in range(1, 5)
    ]
    first = claim(sessions, "a")
    assert first is not None
    with sessions.begin() as tx:
        siblings = claims.claim_siblings(
            tx, jobs.get(tx, first.job_id), worker="a", lease=LEASE, limit=9
        )
    assert len(siblings) == len(grid) - 1
    expire(sessions, *(job.id for job in grid))
    assert state(sessions) == ("idle", None)


@pytest.mark.parametrize("reason", [Reason.CODE, Reason.OOM, Reason.INVALID, Reason.TIMEOUT])
def test_failures_of_jobs_do_not_count(sessions: Sessions, reason: Reason) -> None:
    for _ in range(4):
        lease = claim(sessions, "a", added(sessions))
        assert lease is not None
        with sessions.begin() as tx:
            leases.fail(tx, lease, reason, "")
    assert state(sessions) == ("idle", None)


def test_hanging_and_a_broken_device_count(sessions: Sessions) -> None:
    first, second, third = (claim(sessions, "a", added(sessions)) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    with sessions.begin() as tx:
        leases.fail(tx, first, Reason.STALLED, "")
        leases.hand_back(tx, second, broken=True)
        leases.hand_back(tx, third)
    assert state(sessions) == ("idle", None)
    fourth = claim(sessions, "a", added(sessions))
    assert fourth
    with sessions.begin() as tx:
        leases.hand_back(tx, fourth, broken=True)
    assert state(sessions) == ("quarantined", 1)


def test_a_job_that_got_as_far_as_a_checkpoint_does_not_count(sessions: Sessions) -> None:
    for _ in range(4):
        lease = claim(sessions, "a", added(sessions))
        assert lease is not None
        record(sessions, lease, 40, checkpoints=[saved(40)])
        expire(sessions, lease.job_id)
    assert state(sessions) == ("idle", None)


def test_an_operator_lets_it_take_jobs_again(sessions: Sessions) -> None:
    for _ in range(3):
        lose(sessions)
    with sessions.begin() as tx:
        assert quarantine.release(tx, "a")
        assert not quarantine.release(tx, "nobody")
    assert state(sessions) == ("idle", None)
    assert claim(sessions, "a") is not None
    lose(sessions)
    assert state(sessions) == ("idle", None)


def test_a_worker_that_says_nothing_of_its_device_is_never_left_out(sessions: Sessions) -> None:
    reported(sessions, "a", None)
    for _ in range(5):
        lose(sessions)
    assert state(sessions) == ("idle", None)


def test_what_is_a_day_old_is_forgotten(sessions: Sessions) -> None:
    for _ in range(2):
        lose(sessions)
    with sessions.begin() as tx:
        tx.execute(update(strikes).values(at=from_now(-timedelta(days=2))))
        quarantine.forget(tx)
    lose(sessions)
    assert state(sessions) == ("idle", None)
