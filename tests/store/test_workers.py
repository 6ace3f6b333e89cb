"""The list of workers: who is there, who is lost, who is forgotten."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from store import workers
from store.database import Sessions
from store.instants import from_now
from store.tables import workers as table

MINUTE = timedelta(minutes=1)


def report(sessions: Sessions, name: str, *, seen: timedelta = timedelta()) -> bool:
    with sessions.begin() as tx:
        drain = workers.report(
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
        return drain


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


def test_a_worker_hears_with_its_reports_that_it_is_to_take_no_more_jobs(
    sessions: Sessions,
) -> None:
    def asked(name: str, *, drain: bool) -> bool:
        with sessions.begin() as tx:
            return workers.drain(tx, name, asked=drain)

    assert report(sessions, "a") is False
    assert report(sessions, "b") is False
    assert asked("a", drain=True)
    for _ in range(2):
        assert report(sessions, "a") is True
    assert report(sessions, "b") is False
    assert asked("a", drain=False)
    assert report(sessions, "a") is False
    assert not asked("nobody", drain=True)
