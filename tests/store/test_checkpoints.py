"""Checkpoints: which are kept, where the next attempt goes on, and who may write them."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from spec.jobs import JOB_SPEC
from spec.states import State
from store import checkpoints, history, jobs, leases, moves
from store.checkpoints import CheckpointNotFoundError
from store.database import Sessions
from store.jobs import Submission
from store.leases import Lease, LeaseLostError
from store.tables import chunks
from tests.factories import (
    claimed,
    expired,
    queued,
    range_test_json,
    record,
    rows,
    run_out,
    saved,
    spec,
    stored,
)


def running(sessions: Sessions) -> Lease:
    queued(sessions)
    return claimed(sessions)


def hand_back(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)


def kept(sessions: Sessions, job_id: str) -> list[int]:
    with sessions.read() as tx:
        return [each.iteration for each in checkpoints.find(tx, job_id)]


def spans(sessions: Sessions, job_id: str) -> list[tuple[int, int, int]]:
    """Start, stop and the checkpoint before, of each chunk."""
    columns = (chunks.c.start, chunks.c.stop, chunks.c.after)
    query = select(*columns).where(chunks.c.job_id == job_id).order_by(chunks.c.start)
    with sessions.read() as tx:
        return [tuple(row) for row in tx.execute(query)]


def began(sessions: Sessions, job_id: str) -> list[int]:
    with sessions.read() as tx:
        return [each.began for each in history.attempts_of(tx, job_id, limit=99)]


def at_iterations(sessions: Sessions, iterations: Sequence[int]) -> Lease:
    """A running job with checkpoints there, and rows up to them and a bit further."""
    lease = running(sessions)
    start = 0
    for iteration in iterations:
        record(
            sessions,
            lease,
            iteration,
            rows(start, iteration, after=start),
            checkpoints=[saved(iteration)],
        )
        start = iteration
    record(sessions, lease, start + 3, rows(start, start + 3, after=start))
    return lease


def test_a_checkpoint_is_stored_as_it_was_saved(sessions: Sessions) -> None:
    lease = running(sessions)
    assert record(sessions, lease, 5, checkpoints=[saved(5, lasting=True)]).superseded == []
    with sessions.read() as tx:
        (found,) = checkpoints.find(tx, lease.job_id)
        assert checkpoints.get(tx, lease.job_id) == found
        assert checkpoints.files(tx, [lease.job_id, "job_none"]) == {"1-5.ckpt"}
    assert (found.job_id, found.attempt, found.iteration) == (lease.job_id, 1, 5)
    assert (found.file, found.bytes, found.sha256) == ("1-5.ckpt", 1, "0" * 64)
    assert found.lasting
    assert stored(sessions, lease.job_id).checkpoint == 5


def test_what_is_not_there_says_what_is(sessions: Sessions) -> None:
    lease = running(sessions)
    with sessions.read() as tx, pytest.raises(CheckpointNotFoundError, match=r"has no checkpoint$"):
        checkpoints.get(tx, lease.job_id)
    record(sessions, lease, 9, checkpoints=[saved(4), saved(9)])
    with sessions.read() as tx:
        assert checkpoints.get(tx, lease.job_id, 4).iteration == 4
        with pytest.raises(CheckpointNotFoundError, match="iteration 5; it has some at 4, 9"):
            checkpoints.get(tx, lease.job_id, 5)


def test_the_last_two_and_the_lasting_are_kept(sessions: Sessions) -> None:
    lease = running(sessions)
    gone = []
    for iteration in range(10, 80, 10):
        new = saved(iteration, lasting=iteration == 30)
        gone.append(record(sessions, lease, iteration, checkpoints=[new]).superseded)
    assert kept(sessions, lease.job_id) == [70, 60, 30]
    # 30 was one of the last two until 50 came
    expected = [[], [], ["1-10.ckpt"], ["1-20.ckpt"], [], ["1-40.ckpt"], ["1-50.ckpt"]]
    assert gone == expected


def test_one_that_another_training_is_to_begin_with_is_kept_until_it_has_ended(
    sessions: Sessions,
) -> None:
    lease = at_iterations(sessions, [10, 20])
    with sessions.begin() as tx:
        child = jobs.add(
            tx, Submission(spec(priority=-1), origin=checkpoints.get(tx, lease.job_id, 10))
        )
    other = at_iterations(sessions, [20])
    with sessions.begin() as tx:  # which says nothing about the first one's
        jobs.add(tx, Submission(spec(), origin=checkpoints.get(tx, other.job_id)))
    for iteration in (30, 40):
        record(sessions, lease, iteration, checkpoints=[saved(iteration)])
    assert kept(sessions, lease.job_id) == [40, 30, 10]
    with sessions.begin() as tx:
        moves.cancel(tx, child.id)
    assert record(sessions, lease, 50, checkpoints=[saved(50)]).superseded == [
        "1-10.ckpt",
        "1-30.ckpt",
    ]


def test_a_claim_goes_on_from_the_last_and_deletes_what_came_after(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10, 20])
    hand_back(sessions, lease)
    assert stored(sessions, lease.job_id).iteration == 23
    second = claimed(sessions, worker="w2")
    job = stored(sessions, second.job_id)
    assert (job.attempt, job.checkpoint, job.iteration) == (2, 20, 20)
    assert spans(sessions, job.id) == [(0, 10, 0), (10, 20, 10)]
    assert began(sessions, job.id) == [0, 20]
    record(sessions, second, 25, rows(20, 25, after=20))
    assert spans(sessions, job.id)[-1] == (20, 25, 20)


def test_all_that_was_recorded_before_the_checkpoint_is_kept(sessions: Sessions) -> None:
    lease = running(sessions)
    record(sessions, lease, 20, rows(0, 10), rows(10, 20), checkpoints=[saved(20)])
    hand_back(sessions, lease)
    claimed(sessions)
    assert spans(sessions, lease.job_id) == [(0, 10, 0), (10, 20, 0)]


def test_a_retry_goes_on_from_the_last(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10])
    run_out(sessions, lease.job_id)
    expired(sessions, max_crashes=1)
    with sessions.begin() as tx:
        assert moves.retry(tx, lease.job_id).iteration == 10
    claimed(sessions)
    assert spans(sessions, lease.job_id) == [(0, 10, 0)]


def test_it_falls_back_to_an_earlier_one(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10, 20, 30])
    hand_back(sessions, lease)
    second = claimed(sessions)
    with sessions.begin() as tx:
        leases.fall_back(tx, second, to=20, detail="1-30.ckpt: wrong checksum")
    job = stored(sessions, second.job_id)
    assert (job.state, job.checkpoint, job.iteration) == (State.RUNNING, 20, 20)
    assert spans(sessions, job.id) == [(0, 10, 0), (10, 20, 10)]
    assert kept(sessions, job.id) == [20]
    assert began(sessions, job.id) == [0, 20]


def test_it_falls_back_to_the_start(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10, 20])
    hand_back(sessions, lease)
    second = claimed(sessions)
    with sessions.begin() as tx:
        leases.fall_back(tx, second, to=None, detail="nothing can be read")
    job = stored(sessions, second.job_id)
    assert (job.checkpoint, job.iteration) == (None, 0)
    assert spans(sessions, job.id) == kept(sessions, job.id) == []
    assert began(sessions, job.id) == [0, 0]


def test_a_worker_that_lost_its_lease_writes_neither_row_nor_chunk(sessions: Sessions) -> None:
    first = at_iterations(sessions, [10])
    run_out(sessions, first.job_id)
    expired(sessions)
    for there in (spans(sessions, first.job_id), [(0, 10, 0)]):
        before = stored(sessions, first.job_id)
        renewal = record(
            sessions, first, 40, rows(10, 40, after=10), checkpoints=[saved(40), saved(50)]
        )
        assert (renewal.kept, renewal.lost, renewal.superseded) == ({}, [first], [])
        with pytest.raises(LeaseLostError), sessions.begin() as tx:
            leases.fall_back(tx, first, to=None, detail="")
        assert stored(sessions, first.job_id) == before
        assert kept(sessions, first.job_id) == [10]
        assert spans(sessions, first.job_id) == there
        if before.state == State.QUEUED:
            claimed(sessions, worker="w2")


def test_a_later_attempt_saves_the_same_iteration_anew(sessions: Sessions) -> None:
    first = at_iterations(sessions, [10, 20])
    hand_back(sessions, first)
    second = claimed(sessions)
    with sessions.begin() as tx:
        leases.fall_back(tx, second, to=10, detail="")
    record(sessions, second, 20, rows(10, 20, after=10), checkpoints=[saved(20, attempt=2)])
    with sessions.read() as tx:
        found = checkpoints.get(tx, second.job_id)
    assert (found.attempt, found.file) == (2, "2-20.ckpt")


def test_where_a_training_that_goes_on_from_another_begins(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10])
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
        child = jobs.add(tx, Submission(spec(), origin=checkpoints.get(tx, lease.job_id)))
    held = claimed(sessions)
    for already, expected in ((0, 10), (15, 15)):
        record(sessions, held, already)
        with sessions.begin() as tx:  # a plan may be sent again
            leases.plan(tx, held, start=10, iterations=30, resolved={})
        assert stored(sessions, child.id).iteration == expected
    assert began(sessions, child.id) == [10]


def test_a_checkpoint_forgives_what_happened_before_it(sessions: Sessions) -> None:
    queued(sessions)
    for _ in range(2):
        lease = claimed(sessions)
        run_out(sessions, lease.job_id)
        expired(sessions)
    lease, other = claimed(sessions), running(sessions)
    assert stored(sessions, lease.job_id).crashes == 2
    record(sessions, lease, 5)
    assert stored(sessions, lease.job_id).crashes == 2
    record(sessions, other, 5, checkpoints=[saved(5)])
    assert stored(sessions, lease.job_id).crashes == 2
    record(sessions, lease, 5, checkpoints=[saved(5)])
    assert stored(sessions, lease.job_id).crashes == 0


def test_a_range_test_that_has_ended_keeps_none(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        job = jobs.add(tx, JOB_SPEC.validate_python(range_test_json()))
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 9), checkpoints=[saved(5), saved(9, lasting=True)])
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    assert kept(sessions, job.id) == []
    assert stored(sessions, job.id).checkpoint is None


def test_no_training_begins_with_a_checkpoint_that_has_just_gone(sessions: Sessions) -> None:
    lease = at_iterations(sessions, [10, 20])
    with sessions.read() as tx:
        origin = checkpoints.get(tx, lease.job_id, 10)
    record(sessions, lease, 30, checkpoints=[saved(30)])
    with pytest.raises(CheckpointNotFoundError, match="no longer"), sessions.begin() as tx:
        jobs.add(tx, Submission(spec(), origin=origin))
