"""Jobs of a sweep are compared: once each, by rank on arrival, whatever else happens."""

from typing import Any

import pytest
from sqlalchemy import select

from spec.access import ANYONE
from spec.states import State
from store import history, jobs, leases, rungs, sweep_moves
from store.database import Sessions
from store.leases import Lease, LeaseLostError
from store.rungs import Contest
from store.tables import rungs as table
from sweeps.stopping import Decision, Rung
from tests.factories import claimed, expired, queued, run_out, swept
from tests.store.racing import ROUNDS, at_once

ASHA: dict[str, Any] = {"stopping": {"name": "asha", "eta": 2}}
FIRST = Rung(iteration=40, count=1, unit="cycle")
SECOND = Rung(iteration=80, count=2, unit="cycle")


def contest(sessions: Sessions, lease: Lease) -> Contest:
    with sessions.read() as tx:
        job = jobs.get(tx, lease.job_id)
        found = rungs.contest(tx, str(job.sweep), job.id)
    assert found is not None
    return found


def stand(sessions: Sessions, lease: Lease, value: float | None, rung: Rung = FIRST) -> None:
    here = contest(sessions, lease)
    with sessions.begin() as tx:
        rungs.stand(tx, lease, here, rung, value)


def settle(sessions: Sessions, lease: Lease, rung: Rung = FIRST) -> Decision:
    here = contest(sessions, lease)
    with sessions.begin() as tx:
        return rungs.settle(tx, lease, here, rung)


def arrive(sessions: Sessions, lease: Lease, value: float | None, rung: Rung = FIRST) -> bool:
    stand(sessions, lease, value, rung)
    return settle(sessions, lease, rung).stop


def rows(sessions: Sessions) -> dict[tuple[str, str], Any]:
    with sessions.read() as tx:
        return {(row.job_id, row.place): row for row in tx.execute(select(table))}


def verbs(sessions: Sessions, lease: Lease) -> list[tuple[str, str | None]]:
    with sessions.read() as tx:
        return [(x.verb, x.detail) for x in history.changes(tx, lease.job_id, limit=100)]


def test_a_job_knows_its_contest(sessions: Sessions) -> None:
    objective = {"metric": "best.val_loss", "direction": "maximize"}
    swept(sessions, 2, objective=objective, **ASHA)
    first, second = (contest(sessions, claimed(sessions)) for _ in range(2))
    assert (first.trial, second.trial) == (0, 1)
    assert (first.stopping.name, first.stopping.eta) == ("asha", 2)
    assert first.objective.model_dump() == objective


@pytest.mark.parametrize(
    "of", [{}, {"memory": {"stage": "coarse"}, **ASHA}], ids=["no stopping", "a short run"]
)
def test_some_are_not_compared(sessions: Sessions, of: dict[str, Any]) -> None:
    sweep = swept(sessions, 1, **of)
    lease = claimed(sessions)
    with sessions.read() as tx:
        assert rungs.contest(tx, sweep.id, lease.job_id) is None
        assert rungs.contest(tx, sweep.id, queued(sessions).id) is None


def test_what_counts_is_the_rank_on_arrival(sessions: Sessions) -> None:
    swept(sessions, 5, **ASHA)
    held = [claimed(sessions) for _ in range(5)]
    values = [0.5, 0.6, 0.4, 0.45, None]
    stops = [arrive(sessions, lease, v) for lease, v in zip(held, values, strict=True)]
    assert stops == [False, True, False, False, True]
    kinds = [[verb for verb, _ in verbs(sessions, lease)][1:] for lease in held]
    assert kinds == [["claim"], ["claim", "stopped"], ["claim"], ["claim"], ["claim", "stopped"]]
    assert verbs(sessions, held[1])[-1][1] == (
        "stopped after 1 cycle: 0.6 is number 2 of 2, and only the best goes on"
    )
    assert not arrive(sessions, held[0], 0.3, SECOND)  # another place, where it is the first


def test_a_median_is_of_the_means_so_far(sessions: Sessions) -> None:
    swept(sessions, 6, stopping={"name": "median"})
    held = [claimed(sessions) for _ in range(6)]
    for i, lease in enumerate(held):
        assert arrive(sessions, lease, 9.0 if i else None) == (i == 0)
        stand(sessions, lease, 1.0 + i, SECOND)
    found = rows(sessions)
    means = [found[lease.job_id, SECOND.place].mean for lease in held]
    assert means == [None, 5.5, 6.0, 6.5, 7.0, 7.5]
    assert [found[lease.job_id, SECOND.place].best for lease in held] == [1, 2, 3, 4, 5, 6]
    assert settle(sessions, held[5], SECOND).why == (
        "goes on after 2 cycles: its best, 6, against 6.5, the median of 5 others' means"
    )


def test_once_decided_it_stays_so(sessions: Sessions) -> None:
    """As for a job that runs again from an earlier checkpoint, after a crash."""
    swept(sessions, 3, **ASHA)
    held = [claimed(sessions) for _ in range(3)]
    stops = [arrive(sessions, lease, v) for lease, v in zip(held, (3.0, 4.0, 1.0), strict=True)]
    assert stops == [False, True, False]
    before = rows(sessions)
    run_out(sessions, *(lease.job_id for lease in held))
    assert len(expired(sessions)) == 3
    for lease, value in ((held[0], 9.0), (held[1], 0.0)):
        again = claimed(sessions)
        assert again.job_id == lease.job_id
        assert arrive(sessions, again, value) == before[lease.job_id, FIRST.place].stop
    assert rows(sessions) == before
    assert [verb for verb, _ in verbs(sessions, held[1])].count("stopped") == 1


def test_one_that_stood_and_was_lost_is_decided_later(sessions: Sessions) -> None:
    swept(sessions, 2, **ASHA)
    first, second = claimed(sessions), claimed(sessions)
    stand(sessions, first, 2.0)
    assert not arrive(sessions, second, 1.0)
    run_out(sessions, first.job_id)
    expired(sessions)
    assert arrive(sessions, claimed(sessions), 2.0)


def test_only_who_holds_the_job_may_speak_for_it(sessions: Sessions) -> None:
    swept(sessions, 2, **ASHA)
    first, second = claimed(sessions), claimed(sessions)
    stand(sessions, second, 2.0)
    run_out(sessions, first.job_id, second.job_id)
    expired(sessions)
    before = rows(sessions)
    with pytest.raises(LeaseLostError):
        stand(sessions, first, 1.0)
    with pytest.raises(LeaseLostError):
        settle(sessions, second)
    assert rows(sessions) == before
    assert {row.stop for row in before.values()} == {None}


def test_neither_other_sweeps_nor_deleted_jobs_are_among_the_others(sessions: Sessions) -> None:
    swept(sessions, 3, **ASHA)
    held = [claimed(sessions) for _ in range(3)]
    swept(sessions, 1, **ASHA)
    assert not arrive(sessions, claimed(sessions), 0.0)
    assert not arrive(sessions, held[0], 1.0)
    with sessions.begin() as tx:
        leases.succeed(tx, held[0], {})
        jobs.remove(tx, held[0].job_id)
    assert settle_why(sessions, held[1], 5.0) == (
        "goes on after 1 cycle: only 1 job of at least 2 to compare came here"
    )


def settle_why(sessions: Sessions, lease: Lease, value: float) -> str:
    stand(sessions, lease, value)
    return settle(sessions, lease).why


def test_two_that_arrive_at_once(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        swept(sessions, 3, **ASHA)
        held = [claimed(sessions) for _ in range(3)]
        values = [2.0, 1.0, 3.0]
        stops = at_once(
            *(
                lambda lease=lease, value=value: arrive(sessions, lease, value)
                for lease, value in zip(held, values, strict=True)
            )
        )
        assert not stops[1]  # the best goes on, whoever came first
        assert sum(stops) <= 2
        assert [rows(sessions)[each.job_id, FIRST.place].stop for each in held] == stops
    # had each decided before it could be seen, all would have gone on


def test_of_two_at_once_one_sees_the_other(sessions: Sessions) -> None:
    swept(sessions, 2, **ASHA)
    held = [claimed(sessions) for _ in range(2)]
    at_once(
        *(lambda lease=lease: stand(sessions, lease, 1.0 + held.index(lease)) for lease in held)
    )
    assert at_once(*(lambda lease=lease: settle(sessions, lease).stop for lease in held)) == [
        False,
        True,
    ]


def test_a_sweep_can_be_cancelled_meanwhile(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        sweep = swept(sessions, 2, **ASHA)
        first, second = claimed(sessions), claimed(sessions)

        def cancel(sweep_id: str = sweep.id) -> bool:
            with sessions.begin() as tx:
                return sweep_moves.cancel(tx, sweep_id, by=ANYONE).cancel_requested

        stops = at_once(
            cancel,
            lambda lease=first: arrive(sessions, lease, 1.0),  # type: ignore[misc]
            lambda lease=second: arrive(sessions, lease, 2.0),  # type: ignore[misc]
        )
        assert stops[:2] == [True, False]
        with sessions.read() as tx:
            assert jobs.get(tx, first.job_id).state == State.RUNNING
