"""A dry run of a job: what a submission would be told, and what it would cost."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spec.access import ANYONE
from store import leases, owners
from store.database import Sessions
from store.instants import now
from store.owners import Rule
from store.tables import usage
from tests.api.conftest import Checkpointed, NotedBroker
from tests.api.test_bad_input import BAD_RANGE_TESTS, BAD_TRAININGS, changed
from tests.factories import claimed, queued, range_test_json, training_json


def told(client: TestClient, body: Any) -> Any:
    answer = client.post(
        "/v1/jobs/preview",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_preview_has_the_spec_with_its_defaults_and_stores_nothing(
    client: TestClient, broker: NotedBroker
) -> None:
    found = told(client, training_json())
    assert client.get("/v1/jobs").json()["data"] == broker.woken == []
    assert (found["valid"], found["problems"], found["iterations"]) == (True, [], 100)
    assert found["seconds"] is None
    assert found["spec"] == client.post("/v1/jobs", json=training_json()).json()["spec"]


def test_its_problems_are_those_of_a_refusal(client: TestClient) -> None:
    bad = [
        *(changed(training_json(), path, value) for path, value, _ in BAD_TRAININGS),
        *(changed(range_test_json(), path, value) for path, value, _ in BAD_RANGE_TESTS),
        changed(training_json(), "/schedule/max_lr", {"range_test": "job_0"}),
        training_json(**{"from": {"job": "job_0"}}),
        training_json(kind="\ud800"),
        {},
    ]
    for body in bad:
        refused = client.post(
            "/v1/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        found = told(client, body)
        assert (refused.status_code, found["valid"]) == (422, False)
        assert found["problems"] == refused.json()["errors"]


def test_all_that_is_wrong_is_told_at_once(client: TestClient, sessions: Sessions) -> None:
    with sessions.begin() as tx:
        owners.put(tx, ANYONE.owner, Rule(max_points=10))
        counted = {"points": 11, "checkpoint_bytes": 0, "counted_at": now()}
        tx.execute(usage.insert().values(owner=ANYONE.owner, **counted))
    rate = {"range_test": "job_0"}
    schedule = training_json()["schedule"] | {"max_lr": rate}
    model = {"name": "perceptron", "params": {}}
    found = told(client, training_json(schedule=schedule, model=model))
    pointers = [each["pointer"] for each in found["problems"]]
    assert pointers == ["/model/name", "/schedule/max_lr/range_test", ""]
    assert "may have 10: delete jobs" in found["problems"][-1]["detail"]
    assert found["spec"]["schedule"]["max_lr"] == rate


def test_it_costs_what_like_jobs_have_cost(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    parent = queued(sessions)
    lease = claimed(sessions)
    checkpointed(lease, 40)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"seconds": 3.0, "iterations": 100})
    assert told(client, training_json())["seconds"] == pytest.approx(3)
    on = training_json(**{"from": {"job": parent.id, "iteration": 40}})
    found = told(client, on)
    assert (found["iterations"], found["seconds"]) == (100, pytest.approx(0.03 * 60))
    in_epochs = told(client, training_json(length={"epochs": 2}))
    assert (in_epochs["valid"], in_epochs["iterations"], in_epochs["seconds"]) == (True, None, None)


def test_what_is_odd_is_told(client: TestClient) -> None:
    odd = training_json(length={"iterations": 1})
    warnings = client.post("/v1/jobs", json=odd).json()["warnings"]
    assert warnings
    assert told(client, odd)["warnings"] == warnings


def test_what_is_no_request_is_refused(client: TestClient) -> None:
    for body in (b"[]", b"{", b"1"):
        answer = client.post("/v1/jobs/preview", content=body)
        assert answer.status_code == 422
    large = client.post("/v1/jobs/preview", content=b" " * 1_000_001)
    assert large.status_code == 413
