"""What workers have counted: a total never falls, whatever becomes of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from store import tallies, workers
from store.database import Sessions
from store.instants import from_now
from store.tables import workers as table
from tests.factories import claimed, expired, queued, run_out

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def report(
    sessions: Sessions,
    counted: Mapping[str, int] | None,
    *,
    name: str = "w",
    since: datetime = STARTED,
) -> bool:
    """As a worker's presence does; whether what it said before has been kept."""
    with sessions.begin() as tx:
        kept = workers.take_over(tx, name, since=since)
        workers.report(
            tx,
            name=name,
            device="cpu, 1 threads",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=since,
            counted=counted,
        )
    return kept


def totals(sessions: Sessions) -> Mapping[str, int]:
    with sessions.read() as tx:
        return tallies.totals(tx)


def test_totals_are_those_of_all_workers_and_of_those_that_left(sessions: Sessions) -> None:
    report(sessions, {"iterations": 5})
    report(sessions, {"iterations": 7, "points": 1}, name="v")
    assert totals(sessions) == {"iterations": 12, "points": 1}
    with sessions.begin() as tx:
        workers.leave(tx, "w")
    assert totals(sessions) == {"iterations": 12, "points": 1}
    with sessions.begin() as tx:
        workers.leave(tx, "v")
        workers.leave(tx, "v")
    assert totals(sessions) == {"iterations": 12, "points": 1}


def test_saying_the_same_twice_counts_once(sessions: Sessions) -> None:
    assert report(sessions, {"iterations": 5})
    assert not report(sessions, {"iterations": 5})
    assert totals(sessions) == {"iterations": 5}


def test_a_process_in_the_place_of_another_begins_at_nothing(sessions: Sessions) -> None:
    report(sessions, {"iterations": 5})
    assert report(sessions, {}, since=STARTED + timedelta(seconds=1))
    assert totals(sessions) == {"iterations": 5}
    report(sessions, {"iterations": 2}, since=STARTED + timedelta(seconds=1))
    assert totals(sessions) == {"iterations": 7}


def test_a_worker_that_was_forgotten_is_told_that_its_counts_were_kept(sessions: Sessions) -> None:
    report(sessions, {"iterations": 5})
    with sessions.begin() as tx:
        tx.execute(update(table).values(seen_at=from_now(timedelta(hours=-1))))
        workers.forget(tx, unseen_for=timedelta(minutes=10))
    assert totals(sessions) == {"iterations": 5}
    assert report(sessions, {"iterations": 1})  # since then, as it now knows
    assert totals(sessions) == {"iterations": 6}


def test_a_worker_of_a_version_that_does_not_count_is_no_trouble(sessions: Sessions) -> None:
    report(sessions, None)
    assert totals(sessions) == {}
    with sessions.begin() as tx:
        workers.leave(tx, "w")
    assert totals(sessions) == {}


def test_lost_leases_are_counted_by_who_takes_the_jobs_away(sessions: Sessions) -> None:
    for _ in range(2):
        queued(sessions)
    first, second = claimed(sessions), claimed(sessions)
    run_out(sessions, first.job_id, second.job_id)
    assert len(expired(sessions)) == 2
    assert expired(sessions) == []
    assert totals(sessions) == {"ended.lost.": 2}


@pytest.mark.parametrize("counts", [{}, {"iterations": 0}])
def test_nothing_is_written_where_nothing_was_counted(
    sessions: Sessions, counts: dict[str, int]
) -> None:
    with sessions.begin() as tx:
        tallies.add(tx, counts)
    assert totals(sessions) == {}
