"""Sweeps keep their promises: jobs are let go as there is room, and the end follows from them."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from spec.access import ANYONE, Caller
from spec.states import Reason, State
from store import claims, jobs, leases, moves, outcomes, recovery, speeds, sweep_moves, sweeps
from store.database import Sessions
from store.jobs import Submission
from store.leases import Lease
from store.sweep_moves import WrongSweepStateError
from store.sweeps import NewTrial, Sweep, SweepNotFoundError
from tests.factories import LEASE, spec
from tests.store.racing import ROUNDS, at_once


def swept(
    sessions: Sessions,
    count: int,
    *,
    parallel: int | None = None,
    one_for_one: bool = True,
    iterations: Sequence[int | None] = (),
    by: Caller = ANYONE,
) -> Sweep:
    """A sweep of so many jobs, which has chosen all of them and let go as many as may."""
    with sessions.begin() as tx:
        sweep = sweeps.add(
            tx,
            {},
            by=by,
            name=None,
            promised=count,
            parallel=parallel,
            one_for_one=one_for_one,
            ending=sweep_moves.DONE,
        )
        new = [Submission(spec(seed=seed)) for seed in range(count)]
        added = jobs.add_many(tx, new, by=by, sweep=sweep.id, held=True)
        lengths = [*iterations, *[None] * count]
        sweeps.add_trials(
            tx,
            sweep.id,
            [
                NewTrial(job.id, {"/seed": seed}, {}, lengths[seed], f"{seed:064}")
                for seed, job in enumerate(added)
            ],
            first=0,
        )
        if one_for_one:
            sweep_moves.release(tx, sweep)
    return sweep


def claim(sessions: Sessions) -> Lease | None:
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
    return found and found[1]


def settled(sessions: Sessions, sweep: Sweep) -> Sweep:
    with sessions.begin() as tx:
        locked = sweeps.lock(tx, sweep.id)
        assert locked is not None
        return sweep_moves.settle(tx, locked)


def counts(sessions: Sessions, sweep: Sweep) -> dict[State, int]:
    with sessions.read() as tx:
        return sweeps.counts(tx, [sweep.id])[sweep.id]


def under_way(sessions: Sessions, sweep: Sweep) -> int:
    with sessions.read() as tx:
        return sweep_moves.under_way(tx, sweep.id)


def succeed(sessions: Sessions, lease: Lease, **result: float) -> None:
    with sessions.begin() as tx:
        leases.succeed(tx, lease, result)


def test_never_more_at_one_time_than_it_may(sessions: Sessions) -> None:
    sweep = swept(sessions, 7, parallel=3)
    running: list[Lease] = []
    random = Random(0)
    ended = 0
    while ended < 7:
        while lease := claim(sessions):
            running.append(lease)
        assert under_way(sessions, sweep) == len(running) == min(3, 7 - ended)
        with sessions.begin() as tx:
            lease = running.pop(random.randrange(len(running)))
            if ended % 2:
                leases.fail(tx, lease, Reason.CODE, "broken")
            else:
                leases.succeed(tx, lease, {})
        ended += 1
    assert counts(sessions, sweep) == {State.SUCCEEDED: 4, State.FAILED: 3}
    done = settled(sessions, sweep)
    assert done.state == State.SUCCEEDED
    assert done.started_at
    assert done.finished_at


def test_jobs_are_let_go_in_the_order_in_which_they_were_chosen(sessions: Sessions) -> None:
    swept(sessions, 4, parallel=1)
    seeds = []
    while lease := claim(sessions):
        with sessions.read() as tx:
            seeds.append(jobs.get(tx, lease.job_id).spec["seed"])
        succeed(sessions, lease)
    assert seeds == [0, 1, 2, 3]


def test_a_held_job_is_no_reason_to_wake_a_worker(sessions: Sessions) -> None:
    swept(sessions, 5, parallel=2)
    with sessions.read() as tx:
        assert recovery.ready(tx) == {("default", ""): 2}


def test_a_job_that_is_handed_back_keeps_its_place(sessions: Sessions) -> None:
    sweep = swept(sessions, 3, parallel=1)
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    assert under_way(sessions, sweep) == 1
    again = claim(sessions)
    assert again
    assert again.job_id == lease.job_id


def test_what_nobody_let_go_the_next_look_does(sessions: Sessions) -> None:
    sweep = swept(sessions, 3, parallel=1)
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        moves.cancel(tx, lease.job_id)
        leases.confirm_cancel(tx, lease)
    with sessions.begin() as tx:  # a job that waits ends without a worker
        waiting = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
        assert waiting
        leases.hand_back(tx, waiting[1])
        moves.cancel(tx, waiting[0].id)
    assert under_way(sessions, sweep) == 0
    with sessions.begin() as tx:
        locked = sweeps.lock(tx, sweep.id)
        assert locked
        assert len(sweep_moves.release(tx, locked)) == 1
        assert sweep_moves.release(tx, locked) == []


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([10, 10, 10, 10], 30, 3),
        ([10, 10, 10, 10], 29, 2),
        ([10, 50, 10], 30, 1),
        ([10, None, 10], 30, 3),
        ([10, None, 50], 100, 2),
        ([None, None], 30, 1),
        ([10], 9, 0),
    ],
)
def test_a_budget_of_iterations_lets_go_what_it_can_pay(
    sessions: Sessions, lengths: list[int | None], budget: int, expected: int
) -> None:
    sweep = swept(sessions, len(lengths), one_for_one=False, iterations=lengths)
    with sessions.begin() as tx:
        room = sweep_moves.affordable(tx, sweep, budget)
        assert room == expected
        assert len(sweep_moves.release(tx, sweep, limit=room)) == expected


def test_while_no_length_is_known_one_job_goes_first(sessions: Sessions) -> None:
    sweep = swept(sessions, 4, one_for_one=False)
    with sessions.begin() as tx:
        sweep_moves.release(tx, sweep, limit=1)
        assert sweep_moves.affordable(tx, sweep, 100) == 0
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=30, resolved={})
        assert sweep_moves.affordable(tx, sweep, 100) == 2


def test_all_of_a_sweep_is_paused_and_goes_on(sessions: Sessions) -> None:
    sweep = swept(sessions, 4, parallel=2)
    running = claim(sessions)
    assert running
    with sessions.begin() as tx:
        assert sweep_moves.pause(tx, sweep.id, by=ANYONE).state == State.PAUSED
    assert claim(sessions) is None
    with sessions.begin() as tx:
        leases.hand_back(tx, running)
        assert sweep_moves.release(tx, sweeps.get(tx, sweep.id)) == []
    assert counts(sessions, sweep) == {State.PAUSED: 2, State.QUEUED: 2}
    with sessions.begin() as tx:
        again, freed = sweep_moves.resume(tx, sweep.id, by=ANYONE)
    assert again.state in {State.QUEUED, State.RUNNING}
    assert len(freed) == 2
    while lease := claim(sessions):
        succeed(sessions, lease)
    assert settled(sessions, sweep).state == State.SUCCEEDED


def test_a_job_that_ends_while_its_sweep_pauses_lets_none_go(sessions: Sessions) -> None:
    sweep = swept(sessions, 3, parallel=1)
    running = claim(sessions)
    assert running
    with sessions.begin() as tx:
        sweep_moves.pause(tx, sweep.id, by=ANYONE)
    succeed(sessions, running)
    assert claim(sessions) is None
    assert counts(sessions, sweep) == {State.SUCCEEDED: 1, State.QUEUED: 2}


def test_a_job_that_ends_at_the_moment_of_a_pause_lets_none_go(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        sweep = swept(sessions, 2, parallel=1)
        running = claim(sessions)
        assert running

        def end(lease: Lease = running) -> None:
            succeed(sessions, lease)

        def pause(sweep_id: str = sweep.id) -> None:
            with sessions.begin() as tx:
                sweep_moves.pause(tx, sweep_id, by=ANYONE)

        at_once(end, pause)
        assert claim(sessions) is None


def test_a_cancelled_sweep_ends_when_its_last_job_has(sessions: Sessions) -> None:
    sweep = swept(sessions, 4, parallel=2)
    running = claim(sessions)
    assert running
    with sessions.begin() as tx:
        asked = sweep_moves.cancel(tx, sweep.id, by=ANYONE)
    assert asked.finished_at is None
    assert counts(sessions, sweep) == {State.RUNNING: 1, State.CANCELLED: 3}
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, running)
    done = settled(sessions, sweep)
    assert (done.state, done.ending) == (State.CANCELLED, "it was cancelled")
    with sessions.begin() as tx:
        assert sweep_moves.cancel(tx, sweep.id, by=ANYONE) == done
        for refused in (sweep_moves.pause, sweep_moves.resume):
            with pytest.raises(WrongSweepStateError, match="that is cancelled cannot be"):
                refused(tx, sweep.id, by=ANYONE)


def test_a_retry_queues_the_failed_jobs_only(sessions: Sessions) -> None:
    sweep = swept(sessions, 3)
    for outcome in (Reason.CODE, None, Reason.INVALID):
        lease = claim(sessions)
        assert lease
        with sessions.begin() as tx:
            if outcome:
                leases.fail(tx, lease, outcome, "broken")
            else:
                leases.succeed(tx, lease, {})
    assert settled(sessions, sweep).state == State.SUCCEEDED
    with sessions.begin() as tx:
        again, freed = sweep_moves.retry(tx, sweep.id, by=ANYONE)
    assert again.state == State.RUNNING
    assert again.finished_at is None
    assert len(freed) == 2
    assert counts(sessions, sweep) == {State.QUEUED: 2, State.SUCCEEDED: 1}


def test_a_sweep_of_which_nothing_succeeded_has_failed(sessions: Sessions) -> None:
    sweep = swept(sessions, 2)
    while lease := claim(sessions):
        with sessions.begin() as tx:
            leases.fail(tx, lease, Reason.CODE, "broken")
    assert settled(sessions, sweep).state == State.FAILED


def test_the_best_of_those_that_have_a_value(sessions: Sessions) -> None:
    sweep = swept(sessions, 5)
    found: list[float | None] = [0.5, 0.9, None, 0.9, 0.1]
    for value in found:
        lease = claim(sessions)
        assert lease
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {"val_accuracy": value, "best": {"val_loss": value}})
    with sessions.read() as tx:
        largest = outcomes.best(tx, sweep.id, ["val_accuracy"], largest=True)
        least = outcomes.best(tx, sweep.id, ["best", "val_loss"], largest=False)
        nothing = outcomes.best(tx, sweep.id, ["nowhere"], largest=False)
    assert largest
    assert (largest.value, largest.parameters) == (0.9, {"/seed": 1})
    assert least
    assert (least.value, least.parameters) == (0.1, {"/seed": 4})
    assert nothing is None


def test_a_deleted_job_leaves_its_trial(sessions: Sessions) -> None:
    sweep = swept(sessions, 2)
    lease = claim(sessions)
    assert lease
    succeed(sessions, lease)
    with sessions.begin() as tx:
        jobs.remove(tx, lease.job_id)
    with sessions.read() as tx:
        found = sweeps.trials_of(tx, sweep.id)
    assert [each.parameters for each in found] == [{"/seed": 0}, {"/seed": 1}]
    assert Counter(each.job is None for each in found) == {True: 1, False: 1}


def test_a_sweep_is_its_owners(sessions: Sessions) -> None:
    ada, grace = Caller(owner="ada"), Caller(owner="grace")
    sweep = swept(sessions, 2, by=ada)
    with sessions.begin() as tx:
        assert [each.id for each in sweeps.find(tx, owner="ada", before=None, limit=9)] == [
            sweep.id
        ]
        assert sweeps.find(tx, owner="grace", before=None, limit=9) == []
        for move in (sweep_moves.cancel, sweep_moves.pause, sweep_moves.resume, sweep_moves.retry):
            with pytest.raises(SweepNotFoundError):
                move(tx, sweep.id, by=grace)  # type: ignore[operator] # they differ in what they return


def test_a_job_that_was_trained_with_others_took_its_share_of_their_time(
    sessions: Sessions,
) -> None:
    sweep = swept(sessions, 2)
    for _ in range(2):
        lease = claim(sessions)
        assert lease is not None
        with sessions.begin() as tx:
            leases.plan(tx, lease, start=0, iterations=100, resolved={"population": 4})
        succeed(sessions, lease, seconds=2.0, iterations=100.0)
    with sessions.read() as tx:
        assert speeds.pace(tx, sweep.owner, spec()) == pytest.approx(2 / 100 / 4)
