"""Jobs that may be trained together: who takes how many, and what becomes of them one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from spec.states import Reason, State
from store import claims, leases, moves, workers
from store.claims import Claimed
from store.database import Sessions
from store.instants import from_now
from store.jobs import Job
from store.leases import Lease, Progress, Requests
from store.tables import attempts, chunks
from store.tables import jobs as table
from tests.factories import LEASE, claimed, expired, queued, record, rows, run_out, saved, stored
from tests.store.racing import at_once

ROUNDS = 8


def sibling(sessions: Sessions, **changes: Any) -> Job:
    return queued(sessions, population=True, **changes)


def fresh(job: Job) -> Job:
    """The job as one that is claimed for the first time."""
    assert job.population is not None
    return replace(job, checkpoint=None)


def siblings_of(sessions: Sessions, job: Job, **options: Any) -> list[Claimed]:
    known: dict[str, Any] = {"worker": "w1", "lease": LEASE, "limit": 100}
    with sessions.begin() as tx:
        return claims.claim_siblings(tx, job, **(known | options))


def ready(sessions: Sessions, job: Job) -> int:
    with sessions.read() as tx:
        return claims.siblings(tx, job)


def population(sessions: Sessions, size: int) -> list[Lease]:
    """The leases of so many jobs that one worker took together."""
    added = [sibling(sessions, seed=seed) for seed in range(size)]
    mate = fresh(added[0])
    first = claimed(sessions)
    return [first, *(lease for _, lease in siblings_of(sessions, mate))]


def lost(sessions: Sessions, *ids: str) -> list[Job]:
    """The jobs as the reconciler leaves them after their leases have run out."""
    run_out(sessions, *ids)
    return expired(sessions)


@contextmanager
def locked(sessions: Sessions, job_id: str) -> Iterator[None]:
    """Another transaction that has written to the job and not come to its end."""
    with sessions.begin() as tx:
        tx.execute(update(table).where(table.c.id == job_id).values(version=table.c.version + 1))
        yield


def test_a_job_knows_from_its_submission_what_it_may_be_trained_with(sessions: Sessions) -> None:
    one = sibling(sessions)
    other = sibling(
        sessions,
        seed=1,
        name="another",
        optimizer={"name": "sgd", "params": {"momentum": 0.5}},
        schedule={"policy": "constant", "lr": 0.1},
    )
    assert one.population == other.population
    assert sibling(sessions, batch_size=16).population not in {one.population, None}
    assert queued(sessions).population is None


def test_siblings_are_claimed_best_first_and_each_by_itself(sessions: Sessions) -> None:
    added = [sibling(sessions, seed=seed, priority=seed // 2) for seed in range(4)]
    queued(sessions, priority=-1)
    sibling(sessions, batch_size=16, priority=-1)
    sibling(sessions, queue="gpu")
    first = claimed(sessions)
    mate = fresh(added[0])
    assert ready(sessions, mate) == 3
    found = siblings_of(sessions, mate)
    leases_of = [first, *(lease for _, lease in found)]
    assert [each.job_id for each in leases_of] == [added[i].id for i in (2, 3, 0, 1)]
    assert {(job.state, job.attempt, job.lease_owner) for job, _ in found} == {
        (State.RUNNING, 1, "w1")
    }
    with sessions.read() as tx:
        opened = tx.execute(select(attempts.c.job_id, attempts.c.attempt, attempts.c.worker)).all()
    assert sorted(opened) == sorted((each.id, 1, "w1") for each in added)
    assert siblings_of(sessions, mate) == []


def test_no_more_siblings_are_claimed_than_asked_for(sessions: Sessions) -> None:
    added = [sibling(sessions, seed=seed) for seed in range(5)]
    found = siblings_of(sessions, fresh(added[0]), limit=3)
    assert [job.id for job, _ in found] == [each.id for each in added[:3]]
    assert ready(sessions, fresh(added[0])) == 2


def test_what_siblings_recorded_before_is_deleted(sessions: Sessions) -> None:
    held = population(sessions, 3)
    with sessions.begin() as tx:
        leases.record(tx, [Progress(each, 5, [rows(0, 5)]) for each in held], extend=LEASE)
        for each in held[1:]:
            leases.hand_back(tx, each)
    again = siblings_of(sessions, fresh(stored(sessions, held[0].job_id)))
    assert [(job.attempt, job.iteration) for job, _ in again] == [(2, 0), (2, 0)]
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.job_id)).scalars().all() == [held[0].job_id]


def test_a_job_with_a_checkpoint_trains_alone(sessions: Sessions) -> None:
    ahead, behind = population(sessions, 2)
    record(sessions, ahead, 5, rows(0, 5), checkpoints=[saved(5)])
    record(sessions, behind, 5, rows(0, 5))
    with sessions.begin() as tx:
        leases.hand_back(tx, ahead)
        leases.hand_back(tx, behind)
    mate = fresh(stored(sessions, ahead.job_id))
    assert ready(sessions, mate) == 1
    assert [job.id for job, _ in siblings_of(sessions, mate)] == [behind.job_id]
    assert claimed(sessions).job_id == ahead.job_id


def test_siblings_overtake_older_jobs_but_none_of_a_higher_priority(sessions: Sessions) -> None:
    urgent = sibling(sessions, priority=5)
    claimed(sessions)
    middle = queued(sessions, priority=3)
    same = sibling(sessions, seed=1, priority=3)
    low = sibling(sessions, seed=2, priority=2)
    mate = fresh(urgent)
    assert ready(sessions, mate) == 1
    assert [job.id for job, _ in siblings_of(sessions, mate)] == [same.id]
    assert claimed(sessions).job_id == middle.id
    assert [job.id for job, _ in siblings_of(sessions, mate)] == [low.id]


def test_a_job_of_another_queue_holds_nothing_up(sessions: Sessions) -> None:
    queued(sessions, priority=9, queue="gpu")
    job = sibling(sessions)
    assert len(siblings_of(sessions, fresh(job))) == 1


def test_siblings_wait_for_the_same_workers(sessions: Sessions) -> None:
    job = sibling(sessions)
    sibling(sessions, seed=1, needs={"gpus": 1})
    sibling(sessions, seed=2, queue="gpu")
    assert [each.id for each, _ in siblings_of(sessions, fresh(job))] == [job.id]


def test_two_workers_take_different_siblings(sessions: Sessions) -> None:
    for turn in range(ROUNDS):
        batch_size = 16 + turn  # a population of its own
        added = [sibling(sessions, seed=seed, batch_size=batch_size) for seed in range(9)]
        mate = fresh(added[0])

        def take(worker: str, mate: Job = mate) -> list[str]:
            return [job.id for job, _ in siblings_of(sessions, mate, worker=worker, limit=4)]

        def take_best(worker: str) -> list[str]:
            return [claimed(sessions, worker=worker).job_id]

        taken = at_once(lambda: take("a"), lambda: take("b"), lambda: take_best("c"))
        everyone = [job_id for each in taken for job_id in each]
        assert sorted(everyone) == sorted({*everyone})
        # one that skips what the other has locked may find fewer than there are, never more
        rest = [job.id for job, _ in siblings_of(sessions, mate)]
        assert sorted(everyone + rest) == [each.id for each in added]
        assert {stored(sessions, each.id).attempt for each in added} == {1}


def test_a_claim_does_not_wait_for_a_job_that_is_being_written_to(sessions: Sessions) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    added = [sibling(sessions, seed=seed) for seed in range(3)]
    with locked(sessions, added[1].id):
        found = siblings_of(sessions, fresh(added[0]))
        assert [job.id for job, _ in found] == [added[0].id, added[2].id]
    assert len(siblings_of(sessions, fresh(added[0]))) == 1


def test_a_renewal_tells_the_held_the_lost_and_the_cancelled_apart(sessions: Sessions) -> None:
    first, second, third = population(sessions, 3)
    lost(sessions, second.job_id)
    with sessions.begin() as tx:
        moves.cancel(tx, third.job_id)
    with sessions.begin() as tx:
        renewal = leases.renew(tx, [first, second, third], extend=LEASE)
    assert renewal.kept == {first: Requests(), third: Requests(cancel=True)}
    assert renewal.lost == [second]


def test_a_job_that_is_being_written_to_does_not_cost_the_others_their_leases(
    sessions: Sessions,
) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    first, second = population(sessions, 2)
    news = [Progress(first, 5, [rows(0, 5)]), Progress(second, 5, [rows(0, 5)])]
    with locked(sessions, second.job_id), sessions.begin() as tx:
        for renewal in (
            leases.renew(tx, [first, second], extend=LEASE),
            leases.record(tx, news, extend=LEASE),
        ):
            assert (renewal.kept, renewal.lost) == ({first: Requests()}, [])
    with sessions.read() as tx:
        assert tx.execute(select(chunks.c.job_id)).scalars().all() == [first.job_id]


def test_a_lost_lease_does_not_undo_what_the_others_recorded(sessions: Sessions) -> None:
    held = population(sessions, 3)
    lost(sessions, held[1].job_id)
    news = [
        Progress(each, 10 * place, [rows(0, 10 * place), rows(10 * place, 10 * place + 1)])
        for place, each in enumerate(held, start=1)
    ]
    with sessions.begin() as tx:
        assert leases.record(tx, news, extend=LEASE).lost == [held[1]]
    assert [stored(sessions, each.job_id).iteration for each in held] == [10, 0, 30]
    with sessions.read() as tx:
        found = tx.execute(select(chunks.c.job_id, chunks.c.stop)).all()
    assert sorted(found) == sorted(
        (held[at].job_id, stop) for at, stop in [(0, 10), (0, 11), (2, 30), (2, 31)]
    )


def test_a_lost_population_comes_back_and_each_of_its_jobs_trains_alone(
    sessions: Sessions,
) -> None:
    held = population(sessions, 5)
    mate = fresh(stored(sessions, held[0].job_id))
    back = lost(sessions, *(each.job_id for each in held))
    assert {(job.state, job.attempt, job.crashes, job.population) for job in back} == {
        (State.QUEUED, 1, 1, None)
    }
    assert sorted(job.id for job in back) == sorted(each.job_id for each in held)
    assert ready(sessions, mate) == 0
    assert siblings_of(sessions, mate) == []
    assert claimed(sessions).attempt == 2
    with sessions.read() as tx:
        query = select(attempts.c.outcome).where(attempts.c.attempt == 1)
        assert tx.execute(query).scalars().all() == ["lost"] * 5


def test_a_retry_does_not_bring_a_lost_job_back_into_a_population(sessions: Sessions) -> None:
    lease = population(sessions, 1)[0]
    for _ in range(3):
        lost(sessions, lease.job_id)
        if stored(sessions, lease.job_id).state is State.QUEUED:
            claimed(sessions)
    with sessions.begin() as tx:
        again = moves.retry(tx, lease.job_id)
    assert (again.state, again.crashes, again.population) == (State.QUEUED, 0, None)


def test_a_retry_of_a_failure_may_train_with_others_again(sessions: Sessions) -> None:
    lease = population(sessions, 1)[0]
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    with sessions.begin() as tx:
        mate = fresh(moves.retry(tx, lease.job_id))
    assert ready(sessions, mate) == 1


def test_what_is_handed_back_may_train_with_others_unless_it_must_not(sessions: Sessions) -> None:
    first, second, third = population(sessions, 3)
    mate = fresh(stored(sessions, first.job_id))
    with sessions.begin() as tx:
        moves.cancel(tx, third.job_id)
    with sessions.begin() as tx:
        leases.hand_back(tx, first)
        leases.hand_back(tx, second, alone=True)
        leases.hand_back(tx, third, alone=True)
    found = [stored(sessions, each.job_id) for each in (first, second, third)]
    assert [job.state for job in found] == [State.QUEUED, State.QUEUED, State.CANCELLED]
    assert [job.population for job in found] == [mate.population, None, None]
    assert {job.crashes for job in found} == {0}
    assert ready(sessions, mate) == 1


def test_idle_are_the_others_that_serve_the_queue_and_are_heard_of(sessions: Sessions) -> None:
    minute = timedelta(minutes=1)
    there: list[tuple[str, workers.WorkerState, list[str], timedelta]] = [
        ("me", "idle", ["default"], timedelta()),
        ("one", "idle", ["gpu", "default"], timedelta()),
        ("two", "idle", ["default"], minute / 2),
        ("busy", "busy", ["default"], timedelta()),
        ("draining", "draining", ["default"], timedelta()),
        ("elsewhere", "idle", ["gpu"], timedelta()),
        ("lost", "idle", ["default"], 2 * minute),
    ]
    for name, state, queues, seen in there:
        with sessions.begin() as tx:
            workers.report(
                tx,
                name=name,
                device="cpu",
                state=state,
                job_id=None,
                queues=queues,
                versions={},
                started_at=datetime.now(UTC),
            )
            row = workers.workers.c.name == name
            tx.execute(update(workers.workers).where(row).values(seen_at=from_now(-seen)))
    with sessions.read() as tx:
        assert workers.idle(tx, queue="default", besides="me", lost_after=minute) == 2
