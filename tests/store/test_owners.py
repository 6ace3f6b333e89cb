"""Owners: what they have is counted, and who has too much is given no more."""

from dataclasses import replace

import pytest

from spec.access import ANYONE
from store import checkpoints, jobs, leases, owners
from store.database import Sessions
from store.jobs import Job, Submission
from store.owners import OverLimitError, Rule, Standing
from tests.factories import claimed, record, rows, saved, spec
from tests.store.racing import ROUNDS, at_once, claiming, put_aside


def added(sessions: Sessions, owner: str) -> Job:
    with sessions.begin() as tx:
        return jobs.add(tx, spec(), by=replace(ANYONE, owner=owner))


def counted(sessions: Sessions) -> dict[str, Standing]:
    with sessions.begin() as tx:
        owners.remember(tx, owners.count(tx))
        return {each.owner: each for each in owners.standings(tx)}


def put(sessions: Sessions, owner: str, **rule: float) -> None:
    with sessions.begin() as tx:
        owners.put(tx, owner, Rule(**rule))  # type: ignore[arg-type]


def test_what_an_owner_has_is_counted(sessions: Sessions) -> None:
    added(sessions, "a")
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 9), checkpoints=[saved(5)])
    added(sessions, "a")
    added(sessions, "b")
    put(sessions, "c", share=3)
    found = counted(sessions)
    assert list(found) == ["a", "b", "c"]
    a = found["a"]
    assert (a.running, a.waiting, a.points, a.checkpoint_bytes) == (1, 1, 9, saved(5).bytes)
    assert a.counted_at is not None
    assert (found["b"].waiting, found["b"].points) == (1, 0)
    assert (found["c"].rule, found["c"].counted_at) == (Rule(share=3), None)


def test_who_has_no_job_any_more_has_nothing(sessions: Sessions) -> None:
    job = added(sessions, "a")
    assert counted(sessions)["a"].counted_at is not None
    with sessions.begin() as tx:
        tx.exec_driver_sql(f"DELETE FROM jobs WHERE id = '{job.id}'")
    assert counted(sessions) == {}
    with sessions.read() as tx:
        assert owners.standing(tx, "a").points == 0


def test_what_a_job_began_with_is_counted_once(sessions: Sessions) -> None:
    added(sessions, "a")
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 9), checkpoints=[saved(9)])
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
        again = Submission(spec(), origin=checkpoints.get(tx, lease.job_id))
        jobs.add(tx, again, by=replace(ANYONE, owner="a"))
    assert counted(sessions)["a"].points == 9
    child = claimed(sessions)
    with sessions.begin() as tx:
        leases.plan(tx, child, start=9, iterations=12, resolved={})
    record(sessions, child, 12, rows(9, 12))
    assert counted(sessions)["a"].points == 12


def test_who_may_have_nothing_submits_nothing_from_the_start(sessions: Sessions) -> None:
    put(sessions, "a", max_points=0)
    with sessions.read() as tx, pytest.raises(OverLimitError):
        owners.check(tx, "a")


def test_a_limit_holds_while_it_is_set_again(sessions: Sessions) -> None:
    put(sessions, "a", max_running=1)
    for _ in range(ROUNDS):
        for _ in range(4):
            added(sessions, "a")

        def again() -> bool:
            put(sessions, "a", max_running=1)
            return False

        claim = claiming(sessions)
        assert sum(at_once(again, claim, again, claim, again, claim)) <= 1
        put_aside(sessions)


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({}, False),
        ({"max_points": 9}, True),
        ({"max_points": 10}, False),
        ({"max_checkpoint_bytes": 0}, True),
        ({"max_checkpoint_bytes": 10**9}, False),
        ({"max_running": 0}, False),
    ],
)
def test_who_has_reached_a_limit_may_submit_nothing_more(
    sessions: Sessions, rule: dict[str, float], *, refused: bool
) -> None:
    added(sessions, "a")
    record(sessions, claimed(sessions), 9, rows(0, 9), checkpoints=[saved(5)])
    counted(sessions)
    put(sessions, "a", **rule)
    with sessions.read() as tx:
        owners.check(tx, "b")
        if refused:
            with pytest.raises(OverLimitError, match="delete jobs"):
                owners.check(tx, "a")
        else:
            owners.check(tx, "a")


def test_a_rule_of_defaults_is_none(sessions: Sessions) -> None:
    put(sessions, "a", share=2, max_running=3)
    put(sessions, "a")
    with sessions.read() as tx:
        assert owners.standings(tx) == []
        assert owners.standing(tx, "a").rule == Rule()
