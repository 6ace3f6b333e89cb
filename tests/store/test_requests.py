"""What a client asks of a job in each of its states: cancel, pause, resume, retry, delete."""

from collections.abc import Callable

import pytest

from spec.states import Reason, State
from store import checkpoints, claims, jobs, leases, moves
from store.database import Sessions, WriteTx
from store.jobs import Job, Submission
from store.leases import Lease, Requests
from tests.factories import (
    LEASE,
    claimed,
    expired,
    queued,
    record,
    rows,
    run_out,
    saved,
    spec,
    stored,
)

Ask = Callable[[WriteTx, str], Job]


def asked(sessions: Sessions, ask: Ask, job_id: str) -> Job:
    with sessions.begin() as tx:
        return ask(tx, job_id)


def running(sessions: Sessions) -> Lease:
    queued(sessions)
    return claimed(sessions)


def succeeded(sessions: Sessions) -> Lease:
    lease = running(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    return lease


def nothing_to_claim(sessions: Sessions) -> bool:
    with sessions.begin() as tx:
        return claims.claim(tx, worker="w", queues=["default"], lease=LEASE) is None


def test_a_cancelled_job_ends_at_once_while_it_waits(sessions: Sessions) -> None:
    for hold in (False, True):
        job = queued(sessions)
        if hold:
            asked(sessions, moves.pause, job.id)
        first = asked(sessions, moves.cancel, job.id)
        assert (first.state, first.cancel_requested) == (State.CANCELLED, True)
        assert first.finished_at is not None
        assert asked(sessions, moves.cancel, job.id) == first
    assert nothing_to_claim(sessions)


def test_a_running_job_is_asked_to_stop(sessions: Sessions) -> None:
    lease = running(sessions)
    first = asked(sessions, moves.cancel, lease.job_id)
    assert (first.state, first.finished_at) == (State.RUNNING, None)
    assert asked(sessions, moves.cancel, lease.job_id) == first
    assert record(sessions, lease, 1).kept == {lease: Requests(cancel=True)}
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, lease)
    assert stored(sessions, lease.job_id).state == State.CANCELLED


def test_a_paused_job_is_held_at_once_while_it_waits(sessions: Sessions) -> None:
    job = queued(sessions)
    first = asked(sessions, moves.pause, job.id)
    assert (first.state, first.pause_requested) == (State.PAUSED, False)
    assert asked(sessions, moves.pause, job.id) == first
    assert nothing_to_claim(sessions)
    again = asked(sessions, moves.resume, job.id)
    assert again.state == State.QUEUED
    assert asked(sessions, moves.resume, job.id) == again
    assert claimed(sessions).job_id == job.id


def test_a_running_job_is_asked_to_pause_and_goes_on_from_its_checkpoint(
    sessions: Sessions,
) -> None:
    lease = running(sessions)
    first = asked(sessions, moves.pause, lease.job_id)
    assert (first.state, first.pause_requested) == (State.RUNNING, True)
    assert asked(sessions, moves.pause, lease.job_id) == first
    with sessions.begin() as tx:
        assert leases.renew(tx, [lease], extend=LEASE).kept == {lease: Requests(pause=True)}
    record(sessions, lease, 7, rows(0, 7), checkpoints=[saved(7)])
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    held = stored(sessions, lease.job_id)
    assert (held.state, held.pause_requested, held.crashes) == (State.PAUSED, False, 0)
    assert held.started_at is held.finished_at is None
    assert nothing_to_claim(sessions)
    asked(sessions, moves.resume, lease.job_id)
    claimed(sessions)
    assert stored(sessions, lease.job_id).iteration == 7


def test_a_pause_can_be_taken_back_while_the_job_runs(sessions: Sessions) -> None:
    lease = running(sessions)
    asked(sessions, moves.pause, lease.job_id)
    back = asked(sessions, moves.resume, lease.job_id)
    assert (back.state, back.pause_requested) == (State.RUNNING, False)
    assert asked(sessions, moves.resume, lease.job_id) == back
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    assert stored(sessions, lease.job_id).state == State.QUEUED


def test_a_cancel_outweighs_a_pause_whichever_comes_first(sessions: Sessions) -> None:
    for order in ((moves.pause, moves.cancel), (moves.cancel, moves.pause)):
        for leave in (leases.hand_back, None):
            lease = running(sessions)
            for ask in order:
                asked(sessions, ask, lease.job_id)
            if leave is None:
                run_out(sessions, lease.job_id)
                expired(sessions)
            else:
                with sessions.begin() as tx:
                    leave(tx, lease)
            ended = stored(sessions, lease.job_id)
            assert (ended.state, ended.pause_requested) == (State.CANCELLED, False)


def test_a_job_that_is_to_be_cancelled_takes_no_request_to_pause(sessions: Sessions) -> None:
    lease = running(sessions)
    before = asked(sessions, moves.cancel, lease.job_id)
    assert asked(sessions, moves.pause, lease.job_id) == before


def test_a_lost_job_is_cancelled_or_paused_where_that_was_asked(sessions: Sessions) -> None:
    for ask, state in ((moves.cancel, State.CANCELLED), (moves.pause, State.PAUSED)):
        lease = running(sessions)
        asked(sessions, ask, lease.job_id)
        run_out(sessions, lease.job_id)
        assert [(job.state, job.crashes) for job in expired(sessions)] == [(state, 1)]


def test_a_lost_job_that_was_to_pause_has_failed_once_it_was_lost_too_often(
    sessions: Sessions,
) -> None:
    lease = running(sessions)
    asked(sessions, moves.pause, lease.job_id)
    run_out(sessions, lease.job_id)
    (dead,) = expired(sessions, max_crashes=1)
    assert (dead.state, dead.reason) == (State.FAILED, Reason.WORKER_LOST)
    assert not dead.pause_requested


@pytest.mark.parametrize("ask", [moves.cancel, moves.pause, moves.resume, moves.retry])
def test_a_success_is_final(sessions: Sessions, ask: Ask) -> None:
    lease = succeeded(sessions)
    with pytest.raises(jobs.WrongStateError, match="succeeded cannot be"):
        asked(sessions, ask, lease.job_id)
    with pytest.raises(jobs.JobNotFoundError):
        asked(sessions, ask, "job_none")


def test_a_finished_job_cannot_be_paused_nor_a_paused_one_retried(sessions: Sessions) -> None:
    job = queued(sessions)
    asked(sessions, moves.pause, job.id)
    with pytest.raises(jobs.WrongStateError, match="paused cannot be retried"):
        asked(sessions, moves.retry, job.id)
    asked(sessions, moves.cancel, job.id)
    for ask in (moves.pause, moves.resume):
        with pytest.raises(jobs.WrongStateError, match="cancelled cannot be"):
            asked(sessions, ask, job.id)


def test_a_retry_of_a_cancelled_job_wants_it_again(sessions: Sessions) -> None:
    lease = running(sessions)
    record(sessions, lease, 9, rows(0, 5), rows(5, 9, after=5), checkpoints=[saved(5)])
    asked(sessions, moves.cancel, lease.job_id)
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, lease)
    again = asked(sessions, moves.retry, lease.job_id)
    assert (again.state, again.cancel_requested) == (State.QUEUED, False)
    assert (again.checkpoint, again.iteration) == (5, 5)
    assert asked(sessions, moves.retry, lease.job_id) == again


def parent(sessions: Sessions) -> Lease:
    """Of a training that has ended, with checkpoints at 4 and 8."""
    lease = running(sessions)
    record(sessions, lease, 8, rows(0, 8), checkpoints=[saved(4), saved(8)])
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    return lease


def child(sessions: Sessions, lease: Lease, iteration: int) -> Job:
    with sessions.begin() as tx:
        origin = checkpoints.get(tx, lease.job_id, iteration)
        return jobs.add(tx, Submission(spec(), origin=origin))


def test_a_training_is_not_deleted_while_another_is_to_begin_with_it(sessions: Sessions) -> None:
    lease = parent(sessions)
    begun = child(sessions, lease, 4)
    assert (begun.parent, begun.parent_iteration) == (lease.job_id, 4)
    for change in (None, moves.pause, moves.resume):
        if change:
            asked(sessions, change, begun.id)
        with pytest.raises(jobs.NeededError, match=begun.id), sessions.begin() as tx:
            jobs.remove(tx, lease.job_id)
    held = claimed(sessions)
    for saving in ((), (saved(12),)):  # which may turn out to be damaged
        record(sessions, held, 12, checkpoints=saving)
        with pytest.raises(jobs.NeededError), sessions.begin() as tx:
            jobs.remove(tx, lease.job_id)
    with sessions.begin() as tx:
        leases.succeed(tx, held, {})
        jobs.remove(tx, lease.job_id)
    assert stored(sessions, begun.id).parent == lease.job_id


def test_a_training_whose_children_have_ended_is_deleted(sessions: Sessions) -> None:
    lease = parent(sessions)
    asked(sessions, moves.cancel, child(sessions, lease, 8).id)
    with sessions.begin() as tx:
        jobs.remove(tx, lease.job_id)
    with pytest.raises(jobs.JobNotFoundError):
        stored(sessions, lease.job_id)
    with sessions.read() as tx:
        assert checkpoints.find(tx, lease.job_id) == []


def test_what_does_not_exist_or_is_not_finished_is_not_deleted(sessions: Sessions) -> None:
    job = queued(sessions)
    for change in (None, moves.pause):
        if change:
            asked(sessions, change, job.id)
        with pytest.raises(jobs.WrongStateError, match="cannot be deleted"), sessions.begin() as tx:
            jobs.remove(tx, job.id)
    with pytest.raises(jobs.JobNotFoundError), sessions.begin() as tx:
        jobs.remove(tx, "job_none")
