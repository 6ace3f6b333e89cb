"""Every function of the store on a job in every state does what `spec.states.MOVES` says."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from spec.states import MOVES, Reason, State
from store import claims, jobs, leases, moves, recovery
from store.database import Sessions, WriteTx
from store.instants import from_now
from store.jobs import WrongStateError
from store.leases import Lease, LeaseLostError
from store.tables import jobs as table
from tests.factories import LEASE, claimed, prepared, queued, record, stored

Request = Callable[[WriteTx, str], object]
REQUESTS: tuple[tuple[Request, ...], ...] = (
    (),
    (moves.cancel,),
    (moves.pause,),
    (moves.pause, moves.cancel),
)


def claim(tx: WriteTx, lease: Lease) -> None:
    assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE), lease


def renew(tx: WriteTx, lease: Lease) -> None:
    assert lease in leases.renew(tx, [lease], extend=LEASE).kept


def expire(tx: WriteTx, lease: Lease, *, max_crashes: int = 2) -> None:
    past = from_now(timedelta(seconds=-1))
    tx.execute(
        update(table)
        .where(table.c.id == lease.job_id, table.c.state == State.RUNNING)
        .values(lease_expires=past),
    )
    assert recovery.expire(tx, max_crashes=max_crashes)


VERBS: list[tuple[str, str, Callable[[WriteTx, Lease], object]]] = [
    ("claim", "worker", claim),
    ("renew", "worker", renew),
    ("succeed", "worker", lambda tx, lease: leases.succeed(tx, lease, {})),
    ("fail", "worker", lambda tx, lease: leases.fail(tx, lease, Reason.CODE, "")),
    ("fail", "worker", lambda tx, lease: leases.fail(tx, lease, Reason.OOM, "")),
    ("hand_back", "worker", leases.hand_back),
    ("confirm_cancel", "worker", leases.confirm_cancel),
    ("expire", "reconciler", expire),
    ("expire", "reconciler", lambda tx, lease: expire(tx, lease, max_crashes=1)),
    ("cancel", "client", lambda tx, lease: moves.cancel(tx, lease.job_id)),
    ("pause", "client", lambda tx, lease: moves.pause(tx, lease.job_id)),
    ("resume", "client", lambda tx, lease: moves.resume(tx, lease.job_id)),
    ("retry", "client", lambda tx, lease: moves.retry(tx, lease.job_id)),
]


def test_the_moves_are_those_of_the_diagram(sessions: Sessions) -> None:
    seen = set()
    cases = [(state, asked) for state in State for asked in REQUESTS]
    for verb, actor, action in VERBS:
        for source, requests in cases:
            if requests and source != State.RUNNING:
                continue
            lease = prepared(sessions, source)
            for request in requests:
                with sessions.begin() as tx:
                    request(tx, lease.job_id)
            before = stored(sessions, lease.job_id)
            try:
                with sessions.begin() as tx:
                    action(tx, lease)
            except (WrongStateError, LeaseLostError, AssertionError):
                assert stored(sessions, lease.job_id) == before
            after = stored(sessions, lease.job_id)
            if after != before or (verb == "renew" and source == State.RUNNING):
                seen.add((verb, source, after.state, actor))
            with sessions.begin() as tx:
                tx.execute(table.delete())
    assert seen == {(m.verb, source, m.target, m.actor) for m in MOVES for source in m.sources}


def test_a_job_that_is_queued_again_looks_unstarted(sessions: Sessions) -> None:
    for verb in (leases.hand_back, expire):
        lease = prepared(sessions, State.RUNNING)
        record(sessions, lease, 7)
        with sessions.begin() as tx:
            verb(tx, lease)
        assert stored(sessions, lease.job_id).started_at is None
        with sessions.begin() as tx:
            moves.cancel(tx, lease.job_id)


def test_a_retry_forgets_crashes_and_progress(sessions: Sessions) -> None:
    lease = prepared(sessions, State.RUNNING)
    record(sessions, lease, 7)
    with sessions.begin() as tx:
        expire(tx, lease, max_crashes=1)
    with sessions.begin() as tx:
        again = moves.retry(tx, lease.job_id)
    assert (again.crashes, again.iteration, again.started_at) == (0, 0, None)


def test_an_unreadable_spec_can_still_be_found_and_cancelled(sessions: Sessions) -> None:
    job = queued(sessions)
    with sessions.begin() as tx:
        tx.execute(update(table).values(spec={"kind": "of another version"}))
    assert stored(sessions, job.id).spec == {"kind": "of another version"}
    lease = claimed(sessions)
    with pytest.raises(ValueError, match="kind"):
        jobs.spec_of(stored(sessions, lease.job_id))
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
    with sessions.begin() as tx:
        expire(tx, lease)
    assert stored(sessions, job.id).state == State.CANCELLED
