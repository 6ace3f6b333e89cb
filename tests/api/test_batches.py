"""Many jobs with one request: all of them, or none."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.batches import MOST, WAKE_UPS
from api.middleware import LARGER_BODIES, MAX_BODY
from tests.api.conftest import NotedBroker
from tests.factories import range_test_json, training_json

URL = "/v1/jobs:batch"


def count(client: TestClient) -> int:
    return len(client.get("/v1/jobs?limit=500").json()["data"])


def errors(client: TestClient, *jobs: dict[str, Any]) -> list[dict[str, str]]:
    answer = client.post(URL, json={"jobs": jobs})
    assert answer.status_code == 422
    assert count(client) == 0
    found: list[dict[str, str]] = answer.json()["errors"]
    return found


def test_all_are_queued_in_their_order(client: TestClient, broker: NotedBroker) -> None:
    sent = [training_json(name="a"), range_test_json(name="b", queue="gpu")]
    answer = client.post(URL, json={"jobs": sent})
    assert answer.status_code == 201
    jobs = answer.json()["data"]
    assert [job["name"] for job in jobs] == ["a", "b"]
    assert jobs[0]["id"] < jobs[1]["id"]
    assert broker.woken == [("default", jobs[0]["id"]), ("gpu", jobs[1]["id"])]
    assert client.get("/v1/jobs").json()["data"] == jobs[::-1]


def test_a_full_batch(client: TestClient, broker: NotedBroker) -> None:
    sent = [training_json(seed=seed, tags={"run": str(seed)}) for seed in range(MOST - 1)]
    sent.append(training_json(seed=MOST - 1, queue="gpu"))
    body = json.dumps({"jobs": sent}).encode()
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    answer = client.post(URL, content=body, headers=headers)
    assert answer.status_code == 201
    jobs = answer.json()["data"]
    assert [job["spec"]["seed"] for job in jobs] == list(range(MOST))
    assert len(broker.woken) == WAKE_UPS + 1
    assert broker.woken[-1] == ("gpu", jobs[-1]["id"])
    again = client.post(URL, content=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == answer.content
    assert client.get("/v1/jobs?limit=1").json()["data"][0]["id"] == jobs[-1]["id"]
    assert len(errors_of_too_many(client, [*sent, training_json()])) == 1


def errors_of_too_many(client: TestClient, sent: list[dict[str, Any]]) -> list[dict[str, str]]:
    answer = client.post(URL, json={"jobs": sent})
    assert answer.status_code == 422
    found: list[dict[str, str]] = answer.json()["errors"]
    assert found[0]["pointer"] == "/jobs"
    return found


def test_none_is_queued_where_one_is_refused(client: TestClient, broker: NotedBroker) -> None:
    good, schedule = training_json(), training_json()["schedule"]
    found = errors(
        client,
        good,
        training_json(schedule={**schedule, "max_lr": 0.001}),
        training_json(batch_size=0, training=1),
        {"kind": "training"},
        {"kind": "sweep"},
    )
    pointers = {each["pointer"] for each in found}
    assert {"/jobs/1/schedule/max_lr", "/jobs/2/batch_size", "/jobs/2/training"} <= pointers
    assert {"/jobs/3/model", "/jobs/3/schedule", "/jobs/4"} <= pointers
    assert not {each for each in pointers if each.startswith("/jobs/0")}
    assert broker.woken == []


def test_components_and_other_jobs_are_looked_up_for_all(client: TestClient) -> None:
    unknown = {"name": "perceptron"}
    found = errors(
        client, training_json(model=unknown), training_json(), range_test_json(data=unknown)
    )
    assert [each["pointer"] for each in found] == ["/jobs/0/model/name", "/jobs/2/data/name"]
    origin = {"job": "job_0"}
    rates = {"policy": "constant", "lr": {"range_test": "job_1"}}
    found = errors(
        client, training_json(), training_json(**{"from": origin}), training_json(schedule=rates)
    )
    assert [each["pointer"] for each in found] == [
        "/jobs/1/from/job",
        "/jobs/2/schedule/lr/range_test",
    ]


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [1]}, []])
def test_what_is_no_batch(client: TestClient, body: Any) -> None:
    assert client.post(URL, json=body).status_code == 422


def test_a_batch_may_be_larger_than_a_spec(client: TestClient) -> None:
    def sent(size: int) -> int:
        return client.post(URL, content=b" " * size).status_code

    assert sent(MAX_BODY + 1) == 422
    assert sent(LARGER_BODIES[URL] + 1) == 413


def test_a_key_is_for_one_route(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    assert client.post("/v1/jobs", json=training_json(), headers=headers).status_code == 201
    answer = client.post(URL, json={"jobs": [training_json()]}, headers=headers)
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/Idempotency-Key"]
