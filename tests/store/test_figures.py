"""The deployment in figures, as rows have it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from spec.states import State
from store import deliveries, figures, leases, moves, recovery, webhooks, workers
from store.database import Sessions
from store.figures import Figures, kind
from store.instants import from_now
from store.tables import jobs as table
from store.tables import workers as pool
from tests.factories import LEASE, claimed, queued, record, saved, swept


def read(sessions: Sessions) -> Figures:
    with sessions.read() as tx:
        return figures.read(tx, lost_after=LEASE)


def waits_since(sessions: Sessions, job_id: str, ago: timedelta) -> None:
    with sessions.begin() as tx:
        tx.execute(update(table).where(table.c.id == job_id).values(run_after=from_now(-ago)))


def serve(sessions: Sessions, name: str, *queues: str, device: str = "cpu, 2 threads") -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name=name,
            device=device,
            state="idle",
            job_id=None,
            queues=queues,
            versions={},
            started_at=datetime.now(UTC),
        )


def test_an_empty_deployment(sessions: Sessions) -> None:
    found = read(sessions)
    assert (found.jobs, found.queues, found.workers, found.totals) == ({}, {}, {}, {})
    assert not found.led
    assert found.messages == {"due": 0, "later": 0}
    assert found.checkpoint_bytes == 0
    assert found.database_bytes > 10_000


def test_messages_are_of_webhooks_that_get_them(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        hooks = [webhooks.add(tx, owner="a", url="https://a.example/") for _ in range(2)]
        for hook in (*hooks, hooks[0], hooks[0]):
            deliveries.ping(tx, hook)
        assert len(deliveries.take(tx, hooks[0].id, limit=1)) == 1
        webhooks.change(tx, hooks[1].id, owner="a", enabled=False)
    assert read(sessions).messages == {"due": 2, "later": 1}


def test_depth_and_age_are_of_jobs_that_are_ready(sessions: Sessions) -> None:
    old = queued(sessions)
    queued(sessions)
    later = queued(sessions, queue="gpu")
    swept(sessions, 2)
    waits_since(sessions, old.id, timedelta(minutes=5))
    waits_since(sessions, later.id, timedelta(minutes=-5))
    with sessions.begin() as tx:
        tx.execute(update(table).where(table.c.sweep.is_not(None)).values(held=True))
    serve(sessions, "a", "gpu", "default")
    serve(sessions, "b", "gpu", device="cuda:0 NVIDIA H200")
    found = read(sessions)
    assert found.queues["default"].ready == 2
    assert timedelta(minutes=5) <= found.queues["default"].oldest < timedelta(minutes=6)
    assert (found.queues["gpu"].ready, found.queues["gpu"].oldest) == (0, timedelta())
    assert {name: each.workers for name, each in found.queues.items()} == {"default": 1, "gpu": 2}
    assert {name: each.unserved for name, each in found.queues.items()} == {"default": 0, "gpu": 0}
    assert found.workers == {("idle", "cpu"): 1, ("idle", "cuda"): 1}
    assert found.jobs == {State.QUEUED: 5}


def test_jobs_that_no_living_worker_can_take(sessions: Sessions) -> None:
    queued(sessions)
    queued(sessions, needs={"gpus": 1})
    queued(sessions, queue="elsewhere")
    serve(sessions, "a", "default")
    found = read(sessions).queues
    assert (found["default"].ready, found["default"].unserved) == (2, 1)
    assert (found["elsewhere"].ready, found["elsewhere"].unserved) == (1, 1)
    with sessions.begin() as tx:
        tx.execute(update(pool).values(seen_at=from_now(timedelta(hours=-1))))
    assert read(sessions).queues["default"].unserved == 2


@pytest.mark.parametrize("back", ["hand_back", "expire", "resume", "retry"])
def test_a_job_that_is_queued_again_waits_from_then_on(sessions: Sessions, back: str) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    waits_since(sessions, job.id, timedelta(hours=1))
    with sessions.begin() as tx:
        match back:
            case "hand_back":
                leases.hand_back(tx, lease)
            case "expire":
                tx.execute(update(table).values(lease_expires=from_now(timedelta(seconds=-1))))
                assert recovery.expire(tx, max_crashes=3)
            case "resume":
                moves.pause(tx, job.id)
                leases.hand_back(tx, lease)
                tx.execute(update(table).values(run_after=from_now(timedelta(hours=-1))))
                moves.resume(tx, job.id)
            case "retry":
                leases.confirm_cancel(tx, lease)
                tx.execute(update(table).values(run_after=from_now(timedelta(hours=-1))))
                moves.retry(tx, job.id)
    queue = read(sessions).queues["default"]
    assert queue.ready == 1
    assert queue.oldest < timedelta(minutes=1)


def test_what_is_stored_and_who_leads(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 5, checkpoints=[saved(5)])
    with sessions.begin() as tx:
        recovery.lead(tx, name="reconciler", holder="a", lease=LEASE)
    found = read(sessions)
    assert (found.checkpoint_bytes, found.led) == (1, True)
    with sessions.begin() as tx:
        recovery.lead(tx, name="reconciler", holder="a", lease=-LEASE)
    assert not read(sessions).led


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu, 2 threads", "cpu"), ("cuda:1 NVIDIA H200", "cuda"), ("tpu", "other"), ("", "other")],
)
def test_kinds_of_devices_are_few(device: str, expected: str) -> None:
    assert kind(device) == expected
