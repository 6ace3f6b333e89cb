"""The list of workers: who is there, who is lost, who is forgotten."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from store import claims, workers
from store.database import Sessions
from store.instants import from_now
from store.tables import workers as table
from tests.factories import LEASE, queued

MINUTE = timedelta(minutes=1)


def report(sessions: Sessions, name: str, *, seen: timedelta = timedelta()) -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name=name,
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default", "gpu"],
            versions={"torch": "2.13.0"},
            started_at=datetime.now(UTC),
        )
        row = table.c.name == name
        tx.execute(update(table).where(row).values(seen_at=from_now(-seen)))


def states(sessions: Sessions) -> dict[str, str]:
    with sessions.read() as tx:
        return {each.name: each.state for each in workers.find(tx, lost_after=MINUTE)}


def test_a_worker_that_is_not_heard_of_is_lost_until_it_reports_again(sessions: Sessions) -> None:
    report(sessions, "a", seen=2 * MINUTE)
    report(sessions, "b", seen=MINUTE / 2)
    assert states(sessions) == {"a": "lost", "b": "idle"}
    report(sessions, "a")
    assert states(sessions) == {"a": "idle", "b": "idle"}


def test_a_worker_that_leaves_is_gone(sessions: Sessions) -> None:
    report(sessions, "a")
    report(sessions, "b")
    with sessions.begin() as tx:
        workers.leave(tx, "a")
    assert states(sessions) == {"b": "idle"}


def test_the_long_lost_are_forgotten(sessions: Sessions) -> None:
    report(sessions, "a", seen=9 * MINUTE)
    report(sessions, "b", seen=11 * MINUTE)
    with sessions.begin() as tx:
        workers.forget(tx, unseen_for=10 * MINUTE)
    assert states(sessions) == {"a": "lost"}


def test_a_worker_that_was_asked_to_drain_is_given_no_job(sessions: Sessions) -> None:
    def asked(name: str, *, drain: bool) -> bool:
        with sessions.begin() as tx:
            return workers.drain(tx, name, asked=drain)

    def given(name: str) -> bool:
        with sessions.begin() as tx:
            return claims.claim(tx, worker=name, queues=["default"], lease=LEASE) is not None

    for _ in range(3):
        queued(sessions)
    report(sessions, "a")
    report(sessions, "b")
    assert asked("a", drain=True)
    report(sessions, "a")  # which takes nothing back
    assert states(sessions) == {"a": "draining", "b": "idle"}
    assert (given("a"), given("b"), given("unheard of")) == (False, True, True)
    assert asked("a", drain=False)
    assert given("a")
    assert not asked("nobody", drain=True)
