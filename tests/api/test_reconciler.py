"""The reconciler: patience before it takes jobs away, and wake-ups for what waits."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from api import reconciler as reconcilers
from api.reconciler import TOP_UP, Patience, Reconciler
from spec.needs import Offer
from spec.settings import Settings
from spec.states import State
from store import audit, compaction, leases, workers
from store.database import Sessions, WriteTx
from store.instants import from_now
from store.tables import chunks
from store.tables import jobs as table
from tests.api.conftest import NotedBroker
from tests.factories import claimed, queued, record, rows, stored


class Clock:
    """Stands in for the time module: two clocks that are set by hand."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 500.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reconcilers, "time", clock)
    return clock


@pytest.fixture
def reconciler(
    clock: Clock,
    sessions: Sessions,
    broker: NotedBroker,
    settings: Settings,
) -> Reconciler:
    return Reconciler(sessions, broker, settings)


def lost_job(sessions: Sessions) -> str:
    job = queued(sessions)
    claimed(sessions)
    with sessions.begin() as tx:
        past = from_now(timedelta(seconds=-1))
        tx.execute(update(table).where(table.c.id == job.id).values(lease_expires=past))
    return job.id


def test_nothing_expires_during_the_first_lease(
    clock: Clock,
    sessions: Sessions,
    reconciler: Reconciler,
    broker: NotedBroker,
    settings: Settings,
) -> None:
    job_id = lost_job(sessions)
    clock.pass_by(settings.lease_seconds - 1)
    reconciler.step()
    assert stored(sessions, job_id).state == State.RUNNING
    clock.pass_by(2)
    reconciler.step()
    assert stored(sessions, job_id).state == State.QUEUED
    assert ("default", job_id) in broker.woken


def test_a_database_error_gives_workers_a_lease_of_time(
    clock: Clock,
    reconciler: Reconciler,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.pass_by(settings.lease_seconds + 1)
    assert reconciler._patience.over()

    def away() -> None:
        reconciler._stop.set()
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(reconciler, "step", away)
    reconciler._run()
    assert not reconciler._patience.over()


def test_a_clock_jump_gives_workers_a_lease_of_time(clock: Clock) -> None:
    patience = Patience(timedelta(seconds=60))
    clock.pass_by(61)
    assert patience.over()
    clock.wall += 3600  # the machine slept, or somebody set the clock
    assert not patience.over()
    clock.pass_by(59)
    assert not patience.over()
    clock.pass_by(2)
    assert patience.over()


def test_who_does_not_lead_does_nothing(
    clock: Clock,
    sessions: Sessions,
    reconciler: Reconciler,
    settings: Settings,
) -> None:
    other = NotedBroker()
    follower = Reconciler(sessions, other, settings)
    reconciler.step()
    job_id = lost_job(sessions)
    clock.pass_by(settings.lease_seconds + 1)
    follower.step()
    assert stored(sessions, job_id).state == State.RUNNING
    assert other.woken == []


def test_wake_ups_are_topped_up(
    sessions: Sessions,
    reconciler: Reconciler,
    broker: NotedBroker,
) -> None:
    for _ in range(5):
        queued(sessions)
    queued(sessions, queue="gpu")
    broker.queued = {"default": 3, "gpu": 4}
    reconciler.step()
    assert [queue for queue, _ in broker.woken] == ["default", "default"]


def test_wake_ups_have_a_limit(
    sessions: Sessions,
    reconciler: Reconciler,
    broker: NotedBroker,
) -> None:
    for _ in range(TOP_UP + 5):
        queued(sessions)
    reconciler.step()
    assert len(broker.woken) == TOP_UP


def test_a_fault_does_not_end_the_thread(
    reconciler: Reconciler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = []

    def step() -> None:
        passes.append(len(passes))
        if len(passes) == 1:
            raise ZeroDivisionError
        reconciler._stop.set()

    monkeypatch.setattr(reconciler, "step", step)
    monkeypatch.setattr(reconciler._stop, "wait", lambda _: None)
    reconciler._run()
    assert passes == [0, 1]


def test_a_broker_that_is_down_is_no_reason_to_stop(
    sessions: Sessions,
    reconciler: Reconciler,
    broker: NotedBroker,
) -> None:
    queued(sessions)
    broker.down = True
    reconciler.step()
    broker.down = False
    reconciler.step()
    assert len(broker.woken) == 1


def finished(sessions: Sessions) -> str:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 4), rows(4, 9))
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    return lease.job_id


def starts(sessions: Sessions, job_id: str) -> list[int]:
    with sessions.read() as tx:
        return list(tx.execute(select(chunks.c.start).where(chunks.c.job_id == job_id)).scalars())


def test_series_of_finished_jobs_become_compact(sessions: Sessions, reconciler: Reconciler) -> None:
    found = [finished(sessions) for _ in range(3)]
    reconciler.step()
    assert [starts(sessions, job_id) for job_id in found] == [[0]] * 3
    with sessions.read() as tx:
        assert compaction.due(tx) == []


def test_a_pass_stops_when_its_time_is_over_and_the_next_goes_on(
    sessions: Sessions, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [finished(sessions) for _ in range(3)]
    monkeypatch.setattr(reconcilers, "COMPACTION_SECONDS", -1)
    merged = []
    for _ in range(7):
        reconciler.step()
        merged.append(sum(starts(sessions, job_id) == [0] for job_id in found))
    assert merged == [1, 1, 2, 2, 3, 3, 3]


def test_a_job_that_cannot_be_made_compact_holds_nobody_up(
    clock: Clock,
    sessions: Sessions,
    reconciler: Reconciler,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = finished(sessions), finished(sessions)
    does = compaction.compact

    def fails(tx: WriteTx, job: compaction.Due, block: compaction.Block) -> bool:
        if job.job_id == bad:
            raise MemoryError
        return does(tx, job, block)

    monkeypatch.setattr(compaction, "compact", fails)
    clock.pass_by(settings.lease_seconds + 1)
    reconciler.step()
    assert reconciler._patience.over()
    assert (starts(sessions, bad), starts(sessions, good)) == ([0, 4], [0])


def test_a_job_with_needs_wakes_an_idle_worker_that_has_them(
    sessions: Sessions, reconciler: Reconciler, broker: NotedBroker
) -> None:
    queued(sessions, needs={"card": "H200"})
    for name, state, card in (
        ("cuda-1@a", "idle", "NVIDIA H100"),
        ("cuda-2@a", "busy", "NVIDIA H200"),
        ("cuda-3@b", "idle", "NVIDIA H200"),
        ("cuda-4@b", "idle", "NVIDIA H200"),
    ):
        with sessions.begin() as tx:
            workers.report(
                tx,
                name=name,
                device="cuda:0",
                state=state,
                job_id=None,
                queues=["default"],
                versions={},
                started_at=datetime.now(UTC),
                offer=Offer(gpus=1, card=card),
            )
    reconciler.step()
    assert broker.woken == [("node.3@b", "reconciler")]
    broker.queued["node.3@b"] = 1
    reconciler.step()
    # who has not taken the last one may be deaf
    assert broker.woken[1:] == [("node.4@b", "reconciler")]
    broker.queued["node.4@b"] = 1
    reconciler.step()
    assert len(broker.woken) == 2


@pytest.mark.parametrize("error", [OperationalError("", {}, Exception("timeout")), ValueError()])
def test_a_chore_that_fails_stops_neither_others_nor_leases_from_running_out(
    clock: Clock, sessions: Sessions, broker: NotedBroker, settings: Settings, error: Exception
) -> None:
    done = []

    def fails() -> None:
        raise error

    reconciler = Reconciler(sessions, broker, settings, [fails, lambda: done.append(1)])
    job_id = lost_job(sessions)
    clock.pass_by(settings.lease_seconds - 1)
    reconciler.step()
    clock.pass_by(2)
    reconciler.step()
    assert stored(sessions, job_id).state == State.QUEUED
    assert done == [1, 1]


def test_leases_run_out_although_nothing_can_be_forgotten(
    clock: Clock,
    sessions: Sessions,
    reconciler: Reconciler,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(audit, "forget", fails)
    job_id = lost_job(sessions)
    clock.pass_by(settings.lease_seconds + 1)
    reconciler.step()
    assert stored(sessions, job_id).state == State.QUEUED
