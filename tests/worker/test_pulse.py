"""The heartbeat keeps every lease of a worker, and loses no more of them than are lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from spec.settings import Settings
from spec.states import State
from store import history, moves, recovery
from store.database import Sessions, WriteTx
from store.instants import from_now
from store.leases import Lease
from store.tables import jobs as table
from tests.factories import claimed, queued, stored
from worker.drain import Drain
from worker.pulse import Heartbeat, beating


class FlakyDatabase:
    """Sessions whose next transaction fails when it is told to."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.error: Exception | None = None
        self.begun = threading.Semaphore(0)

    @contextmanager
    def begin(self) -> Iterator[WriteTx]:
        self.begun.release()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        with self.sessions.begin() as tx:
            yield tx


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url="redis://unused", data_dir=tmp_path)


@pytest.fixture
def database(sessions: Sessions) -> FlakyDatabase:
    return FlakyDatabase(sessions)


@pytest.fixture
def heartbeat(database: FlakyDatabase, settings: Settings) -> Heartbeat:
    return Heartbeat(database, settings, Drain())


@pytest.fixture
def held(sessions: Sessions) -> list[Lease]:
    for _ in range(3):
        queued(sessions)
    return [claimed(sessions, lease=timedelta(seconds=20)) for _ in range(3)]


def expiries(sessions: Sessions, held: list[Lease]) -> list[datetime]:
    with sessions.read() as tx:
        rows = dict(tx.execute(select(table.c.id, table.c.lease_expires)).all())
    return [rows[each.job_id] for each in held]


def lose(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        past = from_now(timedelta(seconds=-1))
        tx.execute(update(table).where(table.c.id == lease.job_id).values(lease_expires=past))
        recovery.expire(tx, max_crashes=3)


def test_a_beat_renews_all_leases(
    sessions: Sessions, heartbeat: Heartbeat, held: list[Lease]
) -> None:
    pulses = [heartbeat.keep(each) for each in held]
    before = expiries(sessions, held)
    with sessions.begin() as tx:
        moves.cancel(tx, held[1].job_id)
    heartbeat.beat()
    after = expiries(sessions, held)
    assert all(new - old > timedelta(seconds=30) for old, new in zip(before, after, strict=True))
    assert [each.stop for each in pulses] == [None, "cancelled", None]


def test_a_lost_lease_does_not_lose_the_others(
    sessions: Sessions, heartbeat: Heartbeat, held: list[Lease]
) -> None:
    pulses = [heartbeat.keep(each) for each in held]
    lose(sessions, held[0])
    before = expiries(sessions, held[1:])
    for _ in range(2):
        heartbeat.beat()
        assert [each.stop for each in pulses] == ["lost", None, None]
    assert min(expiries(sessions, held[1:])) > max(before)


def test_the_lease_of_a_job_that_has_ended_is_let_go(
    sessions: Sessions, heartbeat: Heartbeat, held: list[Lease]
) -> None:
    pulses = [heartbeat.keep(each) for each in held]
    before = expiries(sessions, held)
    heartbeat.release(pulses[1])
    heartbeat.beat()
    after = expiries(sessions, held)
    renewed = [new > old for old, new in zip(before, after, strict=True)]
    assert renewed == [True, False, True]


@pytest.mark.parametrize(
    "error",
    [OperationalError("", {}, Exception("the database is away")), ValueError("of our own")],
)
def test_a_beat_that_fails_is_made_up_for_by_the_next(
    sessions: Sessions,
    database: FlakyDatabase,
    heartbeat: Heartbeat,
    held: list[Lease],
    error: Exception,
) -> None:
    pulses = [heartbeat.keep(each) for each in held]
    before = expiries(sessions, held)
    database.error = error
    heartbeat.beat()
    assert expiries(sessions, held) == before
    assert [each.stop for each in pulses] == [None] * 3
    heartbeat.beat()
    assert min(expiries(sessions, held)) > max(before)


def test_a_process_whose_job_hangs_ends_itself(
    sessions: Sessions, settings: Settings, held: list[Lease]
) -> None:
    ended: list[bool] = []
    quick = settings.model_copy(update={"heartbeat_seconds": 1, "stall_seconds": 3})
    heartbeat = Heartbeat(
        FlakyDatabase(sessions), quick, Drain(), end_process=lambda: ended.append(True)
    )
    pulses = [heartbeat.keep(each) for each in held[:2]]
    for _ in range(10):  # as long as both make progress
        for each in pulses:
            each.moved()
        heartbeat.beat()
    for _ in range(3):
        pulses[1].moved()
        heartbeat.beat()
    assert not ended
    pulses[1].moved()
    heartbeat.beat()
    assert ended == [True]
    first, second = (stored(sessions, each.job_id) for each in held[:2])
    assert (first.state, first.failures) == (State.QUEUED, 1)  # stalled jobs are tried again
    assert (second.state, second.failures) == (State.QUEUED, 0)
    with sessions.read() as tx:
        reasons = [history.attempts_of(tx, each.job_id, limit=1)[0].reason for each in held[:2]]
    assert reasons == ["stalled", None]


def test_a_heartbeat_goes_on_by_itself_also_for_what_is_taken_later(
    sessions: Sessions, database: FlakyDatabase, settings: Settings, held: list[Lease]
) -> None:
    quick = settings.model_copy(update={"heartbeat_seconds": 0.01})
    before = expiries(sessions, held)
    with beating(database, quick, Drain()) as heartbeat:
        for each in held:
            heartbeat.keep(each)
            assert database.begun.acquire(timeout=10)
        for _ in range(500):  # more beats, until all have been renewed
            if min(expiries(sessions, held)) > max(before):
                break
            assert database.begun.acquire(timeout=10)
    assert min(expiries(sessions, held)) > max(before)
