"""The databases refuse rows that no move makes."""

from typing import Any

import pytest
from sqlalchemy import Table, insert, update
from sqlalchemy.exc import IntegrityError

from spec.states import State
from store import leases, moves
from store.database import Sessions
from store.instants import now
from store.tables import attempts, checkpoints, chunks, history
from store.tables import jobs as table
from tests.factories import claimed, queued, record, rows, saved


def in_state(sessions: Sessions, state: State) -> str:
    """A job with a row in every table that belongs to it."""
    job = queued(sessions)
    if state == State.QUEUED:
        return job.id
    lease = claimed(sessions)
    record(sessions, lease, 5, rows(0, 5), checkpoints=[saved(5)])
    with sessions.begin() as tx:
        match state:
            case State.PAUSED:
                moves.pause(tx, job.id)
                leases.hand_back(tx, lease)
            case State.SUCCEEDED:
                leases.succeed(tx, lease, {})
    return job.id


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        (State.QUEUED, {"state": "running"}),
        (State.QUEUED, {"state": "failed"}),
        (State.QUEUED, {"state": "succeeded"}),
        (State.QUEUED, {"state": "asleep"}),
        (State.QUEUED, {"kind": "sweep"}),
        (State.QUEUED, {"attempt": -1}),
        (State.QUEUED, {"crashes": -1}),
        (State.QUEUED, {"failures": -1}),
        (State.QUEUED, {"iteration": -1}),
        (State.QUEUED, {"cancel_requested": True}),
        (State.QUEUED, {"pause_requested": True}),
        (State.QUEUED, {"reason": "oom"}),
        (State.QUEUED, {"parent": "job_x"}),
        (State.QUEUED, {"parent_iteration": 5}),
        (State.QUEUED, {"lease_owner": "w", "lease_expires": now()}),
        (State.RUNNING, {"state": "queued"}),
        (State.RUNNING, {"state": "paused"}),
        (State.RUNNING, {"lease_owner": None}),
        (State.RUNNING, {"attempt": 0}),
        (State.RUNNING, {"finished_at": now()}),
        (State.PAUSED, {"pause_requested": True}),
        (State.PAUSED, {"finished_at": now()}),
        (State.SUCCEEDED, {"result": None}),
        (State.SUCCEEDED, {"finished_at": None}),
        (State.SUCCEEDED, {"pause_requested": True}),
        (State.SUCCEEDED, {"state": "failed", "result": None, "reason": "bored"}),
    ],
)
def test_of_jobs(sessions: Sessions, state: State, broken: dict[str, object]) -> None:
    job_id = in_state(sessions, state)
    with pytest.raises(IntegrityError), sessions.begin() as tx:
        tx.execute(update(table).where(table.c.id == job_id).values(**broken))


@pytest.mark.parametrize(
    ("of", "broken"),
    [
        (attempts, {"outcome": "lost"}),
        (attempts, {"ended_at": now()}),
        (attempts, {"ended_at": now(), "outcome": "vanished"}),
        (checkpoints, {"iteration": 0}),
        (checkpoints, {"bytes": 0}),
        (chunks, {"start": -1}),
        (chunks, {"stop": 0}),
    ],
)
def test_of_what_belongs_to_a_job(sessions: Sessions, of: Table, broken: dict[str, object]) -> None:
    in_state(sessions, State.RUNNING)
    with pytest.raises(IntegrityError), sessions.begin() as tx:
        tx.execute(update(of).values(**broken))


def test_what_belongs_to_a_job_does_not_come_before_it(sessions: Sessions) -> None:
    change: dict[str, Any] = {
        "job_id": "job_none",
        "version": 1,
        "at": now(),
        "actor": "client",
        "verb": "submit",
        "state": "queued",
        "attempt": 0,
        "iteration": 0,
    }
    with pytest.raises(IntegrityError), sessions.begin() as tx:
        tx.execute(insert(history).values(**change))


def test_a_change_is_told_once(sessions: Sessions) -> None:
    job_id = in_state(sessions, State.RUNNING)
    with pytest.raises(IntegrityError), sessions.begin() as tx:
        tx.execute(update(history).where(history.c.job_id == job_id).values(version=1))
