"""Messages for webhooks are written with the change that they tell of, or not at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from spec.access import ANYONE, Caller
from spec.states import Reason, State
from spec.webhooks import Event
from store import jobs, leases, messages, moves, sweep_moves, sweeps, webhooks
from store.database import Sessions, WriteTx
from store.tables import deliveries
from tests.factories import claimed, expired, queued, run_out, spec, swept

PAGE = Path(__file__).parents[2] / "docs/webhooks.md"


def listening(sessions: Sessions, **wanted: Any) -> webhooks.Webhook:
    with sessions.begin() as tx:
        return webhooks.add(tx, **{"owner": ANYONE.owner, "url": "https://a.example/", **wanted})


def told(sessions: Sessions) -> list[dict[str, Any]]:
    """The bodies of all messages, oldest first."""
    with sessions.read() as tx:
        query = select(deliveries.c.body).order_by(deliveries.c.id)
        return [json.loads(body) for body in tx.execute(query).scalars()]


def types(sessions: Sessions) -> list[str]:
    return [each["type"] for each in told(sessions)]


def move(sessions: Sessions, made: Callable[[WriteTx], object]) -> None:
    with sessions.begin() as tx:
        made(tx)


def test_a_job_is_told_of_from_its_start_to_its_end(sessions: Sessions) -> None:
    listening(sessions)
    job = queued(sessions, name="fashion", tags={"project": "demo"})
    lease = claimed(sessions)
    result = {"train_loss": 0.5, "iterations": 9, "points": [1] * 999}
    move(sessions, lambda tx: leases.succeed(tx, lease, result))
    started, ended = told(sessions)
    assert (started["type"], ended["type"]) == ("job.started", "job.succeeded")
    assert started["timestamp"].endswith("Z")
    about = ended["data"]["job"]
    assert (about["id"], about["kind"], about["name"]) == (job.id, "training", "fashion")
    assert (about["state"], about["tags"], about["attempt"]) == (
        "succeeded",
        {"project": "demo"},
        1,
    )
    assert about["result"] == {"train_loss": 0.5, "iterations": 9}
    assert about["started_at"] <= about["finished_at"] <= ended["timestamp"]
    assert started["data"]["job"]["result"] is None


def test_a_message_has_what_the_documentation_shows(sessions: Sessions) -> None:
    listening(sessions)
    queued(sessions)
    claimed(sessions)
    (body,) = told(sessions)
    shown = json.loads(re.findall(r"```json\n(.+?)```", PAGE.read_text(), re.DOTALL)[0])
    assert body.keys() == shown.keys()
    assert body["data"]["job"].keys() == shown["data"]["job"].keys()
    assert shown["data"]["job"]["result"].keys() <= set(messages.RESULT)


def test_every_end_is_told_of_and_nothing_else(sessions: Sessions) -> None:
    listening(sessions)
    job = queued(sessions)
    lease = claimed(sessions)
    for verb in (moves.pause, moves.resume, moves.cancel):  # a running job is only asked
        move(sessions, lambda tx, verb=verb: verb(tx, job.id))
        move(sessions, lambda tx: leases.remark(tx, lease, "stopped", "just so"))
    assert types(sessions) == ["job.started"]
    move(sessions, lambda tx: leases.confirm_cancel(tx, lease))
    move(sessions, lambda tx: moves.retry(tx, job.id))
    move(sessions, lambda tx: moves.pause(tx, job.id))
    move(sessions, lambda tx: moves.resume(tx, job.id))
    lease = claimed(sessions)
    move(sessions, lambda tx: leases.fail(tx, lease, Reason.CODE, "x" * 9999))
    assert types(sessions) == [
        "job.started",
        "job.cancelled",
        "job.paused",
        "job.started",
        "job.failed",
    ]
    about = told(sessions)[-1]["data"]["job"]
    assert (about["reason"], about["detail"]) == ("code", "x" * 1000)


def test_a_lost_worker_is_told_of_when_it_was_the_last(sessions: Sessions) -> None:
    listening(sessions)
    job = queued(sessions)
    for crashes in (1, 2):
        claimed(sessions)
        run_out(sessions, job.id)
        expired(sessions, max_crashes=2)
        assert types(sessions).count("job.failed") == crashes - 1
    assert told(sessions)[-1]["data"]["job"]["reason"] == "worker_lost"


def test_what_is_undone_is_not_told_of(sessions: Sessions) -> None:
    listening(sessions)
    job = queued(sessions)

    def undone(tx: WriteTx) -> None:
        moves.cancel(tx, job.id)
        assert tx.execute(select(deliveries.c.id)).all()
        raise LookupError

    with pytest.raises(LookupError):
        move(sessions, undone)
    assert told(sessions) == []
    move(sessions, lambda tx: moves.cancel(tx, job.id))
    assert types(sessions) == ["job.cancelled"]


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        ({}, True),
        ({"events": ["job.failed", "job.cancelled"]}, True),
        ({"events": ["job.failed"]}, False),
        ({"tags": {"project": "demo"}}, True),
        ({"tags": {"project": "demo", "team": "b"}}, False),
        ({"tags": {"project": "other"}}, False),
        ({"sweep": "swp_0"}, False),
        ({"enabled": False}, False),
        ({"owner": "grace"}, False),
    ],
    ids=str,
)
def test_a_webhook_hears_what_it_wants(
    sessions: Sessions, wanted: dict[str, Any], heard: bool
) -> None:
    listening(sessions, **wanted)
    job = queued(sessions, tags={"project": "demo", "team": "a"})
    move(sessions, lambda tx: moves.cancel(tx, job.id))
    assert types(sessions) == ["job.cancelled"] * heard


def test_each_owner_hears_of_what_is_theirs_although_it_moves_at_once(sessions: Sessions) -> None:
    mine = {owner: listening(sessions, owner=owner).id for owner in ("ada", "grace")}
    ids = []
    for owner in (*mine, "nobody"):
        with sessions.begin() as tx:
            ids.append(jobs.add(tx, spec(), by=Caller(owner)).id)
        claimed(sessions)
    run_out(sessions, *ids)
    expired(sessions, max_crashes=1)
    with sessions.read() as tx:
        failed = deliveries.c.type == Event.JOB_FAILED
        query = select(deliveries.c.webhook_id, deliveries.c.subject).where(failed)
        found = {tuple(row) for row in tx.execute(query)}
    assert found == {(mine["ada"], ids[0]), (mine["grace"], ids[1])}


def test_a_sweep_is_told_of_with_its_best_job(sessions: Sessions) -> None:
    objective = {"metric": "val_loss", "direction": "minimize"}
    sweep = swept(sessions, 2, job={"tags": {"team": "a"}}, objective=objective)
    listening(sessions, sweep=sweep.id, events=["sweep.started", "sweep.succeeded"])
    listening(sessions, tags={"team": "a"}, events=["sweep.succeeded"])
    listening(sessions, tags={"team": "b"})
    ids = []
    for loss in (0.5, 0.25):
        lease = claimed(sessions)
        ids.append(lease.job_id)
        settle(sessions, sweep.id)
        move(sessions, lambda tx, lease=lease, x=loss: leases.succeed(tx, lease, {"val_loss": x}))
    settle(sessions, sweep.id)
    assert types(sessions) == ["sweep.started", "sweep.succeeded", "sweep.succeeded"]
    about = told(sessions)[-1]["data"]["sweep"]
    assert (about["id"], about["state"], about["tags"]) == (sweep.id, "succeeded", {"team": "a"})
    assert about["counts"] == {"succeeded": 2}
    assert about["best"] == {"job": ids[1], "parameters": {"/seed": 1}, "value": 0.25}
    settle(sessions, sweep.id)
    assert len(told(sessions)) == 3


def test_the_moves_of_a_sweep_are_told_of(sessions: Sessions) -> None:
    sweep = swept(sessions, 2)
    events = ["sweep.started", "sweep.paused", "sweep.cancelled", "sweep.failed"]
    listening(sessions, events=events)
    for verb in (sweep_moves.pause, sweep_moves.resume, sweep_moves.cancel):
        move(sessions, lambda tx, verb=verb: verb(tx, sweep.id, by=ANYONE))
    assert types(sessions) == ["sweep.paused", "sweep.cancelled"]
    with sessions.read() as tx:
        assert sweeps.get(tx, sweep.id).state == State.CANCELLED


def settle(sessions: Sessions, sweep_id: str) -> None:
    with sessions.begin() as tx:
        locked = sweeps.lock(tx, sweep_id)
        assert locked is not None
        sweep_moves.settle(tx, locked)


def test_where_nobody_listens_one_look_is_all(sessions: Sessions) -> None:
    job = queued(sessions)
    listening(sessions, owner="grace")
    asked: list[str] = []
    event.listen(sessions.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    move(sessions, lambda tx: moves.cancel(tx, job.id))
    assert len([each for each in asked if "webhooks" in each or "deliveries" in each]) == 1
    asked.clear()
    queued(sessions)
    assert not [each for each in asked if "webhooks" in each]
    assert told(sessions) == []


def test_many_are_told_of_at_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "AT_ONCE", 7)
    sweep = swept(sessions, 20)
    listening(sessions, events=["job.cancelled"])
    move(sessions, lambda tx: sweep_moves.cancel(tx, sweep.id, by=ANYONE))
    assert len({each["data"]["job"]["id"] for each in told(sessions)}) == 20
