"""Owners over HTTP: usage, shares and limits, rules of retention and how they are applied."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api import keeping
from api.keeping import Keeper
from spec.access import ANYONE
from spec.states import State
from store import jobs, leases, owners, retention
from store.database import Sessions, WriteTx
from store.files import Directory
from store.instants import from_now
from store.retention import Rule
from store.tables import jobs as table
from tests.factories import (
    claimed,
    prepared,
    queued,
    record,
    rows,
    saved,
    spec,
    stored,
    training_json,
)


def test_what_one_uses_and_may(client: TestClient, sessions: Sessions) -> None:
    queued(sessions)
    mine = client.get("/v1/usage").json()
    assert (mine["owner"], mine["waiting"], mine["share"]) == ("default", 1, 1.0)
    answer = client.put("/v1/owners/default", json={"share": 2, "max_running": 3})
    assert answer.status_code == 200
    assert client.get("/v1/usage").json() == answer.json()
    assert client.get("/v1/owners").json()["data"] == [answer.json()]
    assert answer.json()["max_running"] == 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"share": 0}, "/share"),
        ({"share": "many"}, "/share"),
        ({"max_running": -1}, "/max_running"),
        ({"max_running": 2**31}, "/max_running"),
        ({"max_points": 1.5}, "/max_points"),
        ({"more": 1}, "/more"),
    ],
)
def test_a_bad_rule_is_refused(client: TestClient, body: dict[str, object], pointer: str) -> None:
    answer = client.put("/v1/owners/ada", json=body)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


def test_an_owner_may_be_called_anything(client: TestClient) -> None:
    for name in ("a b", "a/b", "ä", "."):
        answer = client.put(f"/v1/owners/{name.replace('/', '%2F')}", json={"share": 2})
        assert answer.status_code in {200, 404, 405}, answer.text
    assert {"a b", "a/b", "ä"} <= {
        each["owner"] for each in client.get("/v1/owners").json()["data"]
    }


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/jobs:batch", "/v1/sweeps"])
def test_who_has_too_much_is_told_what_to_do(
    client: TestClient, sessions: Sessions, route: str
) -> None:
    queued(sessions)
    record(sessions, claimed(sessions), 9, rows(0, 9))
    client.put("/v1/owners/default", json={"max_points": 9})
    with sessions.begin() as tx:
        owners.remember(tx, owners.count(tx))
    body = {
        "/v1/jobs": training_json(),
        "/v1/jobs:batch": {"jobs": [training_json()]},
        "/v1/sweeps": {"template": training_json(), "space": {"/seed": [0, 1]}},
    }[route]
    answer = client.post(route, json=body)
    assert answer.status_code == 403
    assert "9 recorded iterations, and may have 9: delete jobs" in answer.json()["detail"]
    client.put("/v1/owners/default", json={"max_points": 10})
    assert client.post(route, json=body).status_code == 201


def test_rules_of_retention_are_made_listed_and_removed(client: TestClient) -> None:
    rule = {"what": "series", "after_days": 30, "tag": "keep", "value": "no"}
    made = client.post("/v1/retention", json=rule)
    assert made.status_code == 201
    assert made.json() | rule == made.json()
    assert client.get("/v1/retention").json()["data"] == [made.json()]
    assert client.delete(f"/v1/retention/{made.json()['id']}").status_code == 204
    assert client.delete(f"/v1/retention/{made.json()['id']}").status_code == 404
    refused = client.post("/v1/retention", json={"what": "jobs", "after_days": -1})
    assert {each["pointer"] for each in refused.json()["errors"]} == {"/what", "/after_days"}
    alone = client.post("/v1/retention", json={"what": "series", "after_days": 1, "value": "a"})
    assert [each["pointer"] for each in alone.json()["errors"]] == ["/value"]


def test_a_rule_is_applied_and_the_answer_says_so(
    client: TestClient, sessions: Sessions, tmp_path: Path
) -> None:
    files = Directory(tmp_path / "files")
    job = queued(sessions)
    lease = claimed(sessions)
    checkpoint = saved(5)
    files.write(checkpoint.file, b"weights")
    record(sessions, lease, 9, rows(0, 9), checkpoints=[checkpoint])
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
        past = from_now(-timedelta(days=2))
        tx.execute(update(table).where(table.c.id == job.id).values(finished_at=past))
    for what in ("series", "checkpoints"):
        client.post("/v1/retention", json={"what": what, "after_days": 1})
    keeper = Keeper(sessions, files)
    keeper.sweep()
    keeper.count()
    told = client.get(f"/v1/jobs/{job.id}").json()
    assert told["series_deleted_at"] is not None
    assert [each["verb"] for each in told["history"]][-2:] == ["forget", "forget"]
    assert files.names() == []
    assert client.get(f"/v1/jobs/{job.id}/series").json()["total_points"] == 0
    assert client.get("/v1/usage").json()["points"] == 0
    Keeper(sessions, files).sweep()
    assert len(client.get(f"/v1/jobs/{job.id}").json()["history"]) == len(told["history"])


def test_a_job_that_cannot_be_swept_holds_nobody_up(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = (prepared(sessions, State.SUCCEEDED).job_id for _ in range(2))
    with sessions.begin() as tx:
        retention.add(tx, "default", what="series", after_days=0)
    does = retention.apply

    def fails(tx: WriteTx, rule: Rule, job_id: str) -> list[str]:
        if job_id == bad:
            raise MemoryError
        return does(tx, rule, job_id)

    monkeypatch.setattr(retention, "apply", fails)
    Keeper(sessions, Directory(tmp_path)).sweep()
    assert [stored(sessions, each).series_deleted_at is None for each in (bad, good)] == [
        True,
        False,
    ]


def test_no_rule_takes_the_time_of_others(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SWEEP_SECONDS", 0)
    found = {}
    for owner in ("a", "b"):
        found[owner] = []
        for _ in range(2):
            with sessions.begin() as tx:
                jobs.add(tx, spec(), by=replace(ANYONE, owner=owner))
            lease = claimed(sessions)
            with sessions.begin() as tx:
                leases.succeed(tx, lease, {})
            found[owner].append(lease.job_id)
        with sessions.begin() as tx:
            retention.add(tx, owner, what="series", after_days=0)
    keeper = Keeper(sessions, Directory(tmp_path))
    for gone in (1, 2):
        keeper.sweep()
        for ids in found.values():
            assert sum(stored(sessions, each).series_deleted_at is not None for each in ids) == gone
