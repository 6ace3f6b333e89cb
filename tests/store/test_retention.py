"""Rules of retention: what they delete, of which jobs, and what they leave alone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from spec.access import ANYONE
from spec.states import Reason, State
from store import checkpoints, history, jobs, leases, moves, retention, series, webhooks
from store.database import Sessions
from store.instants import from_now
from store.jobs import Submission
from store.retention import Rule, RuleNotFoundError
from store.tables import deliveries, sweeps
from store.tables import jobs as table
from tests.factories import LEASE, claimed, queued, record, rows, saved, spec, stored, swept


def ended(
    sessions: Sessions, state: State = State.SUCCEEDED, *, days: int = 10, **changes: Any
) -> str:
    """A job with a curve and a checkpoint that ended so many days ago."""
    job = queued(sessions, **changes)
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 5), rows(5, 9, after=5), checkpoints=[saved(5)])
    with sessions.begin() as tx:
        if state == State.SUCCEEDED:
            leases.succeed(tx, lease, {})
        elif state == State.FAILED:
            leases.fail(tx, lease, Reason.INVALID, "broken")
        elif state == State.CANCELLED:
            moves.cancel(tx, job.id)
            leases.confirm_cancel(tx, lease)
        at = from_now(-timedelta(days=days))
        tx.execute(update(table).where(table.c.id == job.id).values(finished_at=at))
    return job.id


def made(sessions: Sessions, **rule: Any) -> Rule:
    known: dict[str, Any] = {"what": "series", "after_days": 5}
    with sessions.begin() as tx:
        return retention.add(tx, rule.pop("owner", "default"), **(known | rule))


def applied(sessions: Sessions, rule: Rule) -> dict[str, list[str]]:
    """Job -> its files that may go."""
    with sessions.read() as tx:
        found = retention.due(tx, rule, limit=10)
    files = {}
    for job_id in found:
        with sessions.begin() as tx:
            files[job_id] = retention.apply(tx, rule, job_id)
    return files


def has(sessions: Sessions, job_id: str) -> tuple[bool, bool]:
    """Whether there is a curve, and a checkpoint."""
    with sessions.read() as tx:
        return bool(series.summary(tx, job_id)[0]), bool(checkpoints.find(tx, job_id))


def test_series_go_and_the_checkpoints_of_a_success_stay(sessions: Sessions) -> None:
    job_id = ended(sessions)
    rule = made(sessions)
    before = stored(sessions, job_id).version
    assert applied(sessions, rule) == {job_id: []}
    assert has(sessions, job_id) == (False, True)
    after = stored(sessions, job_id)
    assert after.series_deleted_at is not None
    assert (after.state, after.version) == (State.SUCCEEDED, before + 1)
    with sessions.read() as tx:
        last = history.changes(tx, job_id, limit=9)[-1]
    assert (last.verb, last.actor) == ("forget", "reconciler")
    assert rule.id in str(last.detail)
    assert applied(sessions, rule) == {}


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_job_that_may_go_on_loses_both_and_can_start_over(
    sessions: Sessions, state: State
) -> None:
    job_id = ended(sessions, state)
    ((_, files),) = applied(sessions, made(sessions)).items()
    assert len(files) == 1
    assert has(sessions, job_id) == (False, False)
    with sessions.begin() as tx:
        moves.retry(tx, job_id)
    lease = claimed(sessions)
    again = stored(sessions, job_id)
    assert (lease.job_id, again.iteration, again.series_deleted_at) == (job_id, 0, None)


def test_checkpoints_alone(sessions: Sessions) -> None:
    job_id = ended(sessions)
    rule = made(sessions, what="checkpoints")
    assert list(applied(sessions, rule)) == [job_id]
    assert has(sessions, job_id) == (True, False)
    assert stored(sessions, job_id).series_deleted_at is None
    assert applied(sessions, rule) == {}


def test_only_what_is_old_enough_and_ones_own(sessions: Sessions) -> None:
    young = ended(sessions, days=4)
    queued(sessions)
    running = claimed(sessions)
    record(sessions, running, 9, rows(0, 9))
    assert applied(sessions, made(sessions)) == {}
    assert applied(sessions, made(sessions, owner="b", after_days=0)) == {}
    assert list(applied(sessions, made(sessions, after_days=4))) == [young]


@pytest.mark.parametrize(
    ("tag", "value", "goes"),
    [("keep", None, True), ("keep", "no", True), ("keep", "yes", False), ("other", None, False)],
)
def test_a_tag_chooses(sessions: Sessions, tag: str, value: str | None, *, goes: bool) -> None:
    job_id = ended(sessions, tags={"keep": "no"})
    ended(sessions)
    assert list(applied(sessions, made(sessions, tag=tag, value=value))) == [job_id] * goes


def test_what_another_job_is_to_begin_with_stays(sessions: Sessions) -> None:
    job_id = ended(sessions)
    with sessions.begin() as tx:
        origin = checkpoints.get(tx, job_id)
        child = jobs.add(tx, Submission(spec(), origin=origin), by=ANYONE)
    rule = made(sessions, what="checkpoints")
    assert applied(sessions, rule) == {}
    with sessions.begin() as tx:
        assert retention.apply(tx, rule, job_id) == []
        moves.cancel(tx, child.id)
    assert list(applied(sessions, rule)) == [job_id]


def test_what_a_sweep_may_begin_more_jobs_with_stays(sessions: Sessions) -> None:
    parent = ended(sessions)
    sweep = swept(sessions, 1)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        begun = {"parent": parent, "parent_iteration": 5}
        tx.execute(update(table).where(table.c.id == lease.job_id).values(begun))
        leases.succeed(tx, lease, {})
    rule = made(sessions, what="checkpoints")
    assert applied(sessions, rule) == {}
    with sessions.begin() as tx:
        assert retention.apply(tx, rule, parent) == []
        done = {"state": State.SUCCEEDED, "finished_at": from_now(timedelta())}
        tx.execute(update(sweeps).where(sweeps.c.id == sweep.id).values(done))
    assert list(applied(sessions, rule)) == [parent]


def test_a_job_that_is_retried_meanwhile_stays(sessions: Sessions) -> None:
    job_id = ended(sessions, State.FAILED)
    rule = made(sessions)
    with sessions.begin() as tx:
        moves.retry(tx, job_id)
    with sessions.begin() as tx:
        assert retention.apply(tx, rule, job_id) == []
    assert has(sessions, job_id) == (True, True)


def test_rules_are_their_owners(sessions: Sessions) -> None:
    mine, other = made(sessions, owner="a"), made(sessions, owner="b")
    with sessions.read() as tx:
        assert retention.find(tx, "a") == [mine]
        assert retention.find(tx) == [mine, other]
    with sessions.begin() as tx, pytest.raises(RuleNotFoundError):
        retention.remove(tx, other.id, owner="a")
    with sessions.begin() as tx:
        retention.remove(tx, mine.id, owner="a")
    with sessions.read() as tx:
        assert retention.find(tx) == [other]


def test_a_lease_is_never_touched(sessions: Sessions) -> None:
    rule = made(sessions, after_days=0)
    queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        assert retention.apply(tx, rule, lease.job_id) == []
        leases.renew(tx, [lease], extend=LEASE)
    assert replace(stored(sessions, lease.job_id)).state == State.RUNNING


def test_nobody_is_told_that_a_job_has_ended_again(sessions: Sessions) -> None:
    job_id = ended(sessions)
    with sessions.begin() as tx:
        webhooks.add(tx, owner="default", url="https://a.example/")
    assert list(applied(sessions, made(sessions))) == [job_id]
    with sessions.read() as tx:
        assert tx.execute(select(deliveries.c.id)).all() == []
