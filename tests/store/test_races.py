"""Two connections at once: each job is taken once, and one of two opposed moves finds no row."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import select, update

from spec.states import State
from store import claims, jobs, leases, recovery
from store.database import Sessions
from store.instants import from_now
from store.tables import attempts
from store.tables import jobs as table
from tests.factories import LEASE, claimed, queued, stored

T = TypeVar("T")
ROUNDS = 15


def at_once(*actions: Callable[[], T]) -> list[T]:
    """What the actions return, begun at the same moment in threads of their own."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        barrier.wait(timeout=10)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(timeout=30) for future in [pool.submit(run, a) for a in actions]]


def test_a_job_is_claimed_once(sessions: Sessions) -> None:
    def claim() -> str | None:
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
            return found and found[0].id

    for _ in range(ROUNDS):
        one, two = queued(sessions).id, queued(sessions).id
        taken = [job_id for job_id in at_once(claim, claim, claim, claim) if job_id]
        assert sorted(taken) == [one, two]
    with sessions.read() as tx:
        assert len(tx.execute(select(attempts.c.job_id)).all()) == 2 * ROUNDS


def test_an_expiry_and_a_renewal_do_not_both_win(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        with sessions.begin() as tx:
            past = from_now(timedelta(seconds=-1))
            tx.execute(update(table).where(table.c.id == lease.job_id).values(lease_expires=past))

        def renew(lease: leases.Lease = lease) -> bool:
            with sessions.begin() as tx:
                return lease in leases.renew(tx, [lease], extend=LEASE).kept

        def expire() -> bool:
            with sessions.begin() as tx:
                return bool(recovery.expire(tx, max_crashes=9))

        renewed, expired = at_once(renew, expire)
        job = stored(sessions, lease.job_id)
        assert renewed != expired
        assert job.state == (State.RUNNING if renewed else State.QUEUED)
        assert job.crashes == int(expired)
        with sessions.begin() as tx:
            tx.execute(update(table).values(run_after=from_now(timedelta(days=1))))


def test_a_cancel_and_a_claim_agree(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        job_id = queued(sessions).id

        def claim() -> bool:
            with sessions.begin() as tx:
                found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
                return found is not None

        def cancel(job_id: str = job_id) -> bool:
            with sessions.begin() as tx:
                return jobs.cancel(tx, job_id).state == State.CANCELLED

        taken, cancelled = at_once(claim, cancel)
        job = stored(sessions, job_id)
        assert taken != cancelled
        assert job.cancel_requested
        assert job.state == (State.RUNNING if taken else State.CANCELLED)


def test_a_cancel_and_a_success_agree(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)

        def succeed(lease: leases.Lease = lease) -> bool:
            with sessions.begin() as tx:
                leases.succeed(tx, lease, {})
            return True

        def cancel(job_id: str = lease.job_id) -> bool:
            try:
                with sessions.begin() as tx:
                    jobs.cancel(tx, job_id)
            except jobs.WrongStateError:
                return False
            return True

        at_once(succeed, cancel)
        assert stored(sessions, lease.job_id).state == State.SUCCEEDED


def test_writers_that_read_first_do_not_fail_on_each_other(sessions: Sessions) -> None:
    """On SQLite a transaction that reads and then writes must have said so at its start."""
    ids = [queued(sessions).id for _ in range(4)]

    def work(job_id: str) -> None:
        for _ in range(ROUNDS):
            with sessions.begin() as tx:
                jobs.get(tx, job_id)
                jobs.cancel(tx, job_id)
                jobs.retry(tx, job_id)

    at_once(*(lambda job_id=job_id: work(job_id) for job_id in ids))
    assert {stored(sessions, job_id).state for job_id in ids} == {State.QUEUED}
