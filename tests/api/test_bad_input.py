"""Every kind of bad input is a 422 that points at the field, and never a fault of the server."""

import json
from copy import deepcopy
from typing import Any

import pytest
from fastapi.testclient import TestClient

from store.database import Sessions
from tests.factories import range_test_json, training_json

TRIANGULAR = training_json()["schedule"]

BAD_TRAININGS: list[tuple[str, Any, str]] = [
    ("/model", None, "/model"),
    ("/model/name", "perceptron", "/model/name"),
    ("/model/name", "../../etc", "/model/name"),
    ("/model/params", {"hidden": [0]}, "/model/params/hidden/0"),
    ("/model/params", {"hidden": "64"}, "/model/params/hidden"),
    ("/model/params", {"depth": 3}, "/model/params/depth"),
    ("/model", {"name": "resnet", "params": {"depth": 9}}, "/model/params/depth"),
    ("/data/name", "imagenet", "/data/name"),
    ("/data/params", {"root": "/etc"}, "/data/params/root"),
    ("/optimizer/name", "lion", "/optimizer/name"),
    ("/optimizer/params", {"momentum": 1.0}, "/optimizer/params/momentum"),
    ("/optimizer/params", {"nesterov": True}, "/optimizer/params/momentum"),
    ("/batch_size", 0, "/batch_size"),
    ("/batch_size", -1, "/batch_size"),
    ("/batch_size", 1.5, "/batch_size"),
    ("/batch_size", "32", "/batch_size"),
    ("/batch_size", True, "/batch_size"),
    ("/seed", -1, "/seed"),
    ("/seed", 2**53, "/seed"),
    ("/precision", "fp8", "/precision"),
    ("/record", ["weights"], "/record/0"),
    ("/priority", 1001, "/priority"),
    ("/queue", "GPU!", "/queue"),
    ("/name", "a\x00b", "/name"),
    ("/name", "x" * 201, "/name"),
    ("/tags", {"bad key": "x"}, "/tags/bad key"),
    ("/tags", {"k": "line\nbreak"}, "/tags/k"),
    ("/lenght", {"epochs": 1}, "/lenght"),
    ("/schedule/policy", "sawtooth", "/schedule"),
    ("/schedule/max_lr", 0.001, "/schedule/max_lr"),
    ("/schedule/max_lr", float("nan"), "/schedule/max_lr"),
    ("/schedule/max_lr", float("inf"), "/schedule/max_lr"),
    ("/schedule/max_lr", 1e7, "/schedule/max_lr"),
    ("/schedule/max_lr", "0.1", "/schedule/max_lr"),
    ("/schedule/max_lr", {"range_test": "latest"}, "/schedule/max_lr/range_test"),
    ("/schedule/base_lr", -0.1, "/schedule/base_lr"),
    ("/schedule/step_size", 0, "/schedule/step_size"),
    ("/schedule/step_size", 0.5, "/schedule/step_size"),
    ("/schedule/step_size", {"epochs": 0}, "/schedule/step_size/epochs"),
    ("/schedule/step_size", {"epochs": 1, "cycles": 1}, "/schedule/step_size/cycles"),
    ("/schedule/window", "square", "/schedule/window"),
    ("/schedule/gamma", 0.5, "/schedule/gamma"),
    ("/schedule/base_momentum", 0.8, "/schedule/max_momentum"),
    ("/schedule", {**TRIANGULAR, "policy": "exp_range"}, "/schedule/gamma"),
    ("/schedule", {**TRIANGULAR, "policy": "exp_range", "gamma": 0}, "/schedule/gamma"),
    ("/schedule", {**TRIANGULAR, "policy": "exp_range", "gamma": 1.1}, "/schedule/gamma"),
    ("/schedule", {"policy": "constant"}, "/schedule/lr"),
    ("/length", {}, "/length"),
    ("/length", {"iterations": 0}, "/length/iterations"),
    ("/length", {"iterations": 2_000_000_000}, "/length/iterations"),
    ("/length", {"epochs": -1}, "/length/epochs"),
    ("/length", {"epochs": 1, "iterations": 1}, "/length"),
    ("/length", {"cycles": 0}, "/length/cycles"),
    ("/length", 100, "/length"),
    ("/from", "job_0", "/from"),
    ("/from", {"job": "latest"}, "/from/job"),
    ("/from", {"job": "job_0", "iteration": 0}, "/from/iteration"),
    ("/origin", {"job": "job_0"}, "/origin"),
    ("/evaluate", {"every": {"epochs": 0}}, "/evaluate/every/epochs"),
    ("/evaluate", {"every": {"cycles": 1}}, "/evaluate/every"),
]

BAD_RANGE_TESTS: list[tuple[str, Any, str]] = [
    ("/range/end", 1e-5, "/range/end"),
    ("/range/end", 1e-9, "/range/end"),
    ("/range/start", 0, "/range/start"),
    ("/range/start", float("nan"), "/range/start"),
    ("/range/iterations", 0, "/range/iterations"),
    ("/range/iterations", 1, "/range/iterations"),
    ("/range/ramp", "quadratic", "/range/ramp"),
    ("/repeats", 0, "/repeats"),
    ("/repeats", 65, "/repeats"),
    ("/schedule", TRIANGULAR, "/schedule"),
    ("/from", {"job": "job_0"}, "/from"),
]


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    spec = deepcopy(spec)
    *parents, last = path.strip("/").split("/")
    at = spec
    for part in parents:
        at = at[part]
    at[last] = value
    return spec


def pointers(client: TestClient, body: dict[str, Any]) -> list[str]:
    # json.dumps writes NaN and Infinity as bare words, as careless clients do
    answer = client.post(
        "/v1/jobs",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert all(each["detail"] for each in problem["errors"])
    return [each["pointer"] for each in problem["errors"]]


@pytest.mark.parametrize(("path", "value", "pointer"), BAD_TRAININGS)
def test_trainings(client: TestClient, path: str, value: Any, pointer: str) -> None:
    assert pointers(client, changed(training_json(), path, value)) == [pointer]


@pytest.mark.parametrize(("path", "value", "pointer"), BAD_RANGE_TESTS)
def test_range_tests(client: TestClient, path: str, value: Any, pointer: str) -> None:
    assert pointers(client, changed(range_test_json(), path, value)) == [pointer]


@pytest.mark.parametrize(
    "field", ["model", "data", "batch_size", "optimizer", "schedule", "length"]
)
def test_missing_fields(client: TestClient, field: str) -> None:
    body = training_json()
    del body[field]
    assert pointers(client, body) == [f"/{field}"]


def test_a_stray_field_named_like_a_kind_moves_no_pointer(client: TestClient) -> None:
    body = training_json(batch_size=0, training={"batch_size": 1})
    assert sorted(pointers(client, body)) == ["/batch_size", "/training"]


ODD = [
    "%00",
    "job_%00",
    "%F0%9F%92%A9",
    "job_A",
    "job_" + "1" * 500,
    "'--",
    "..%2Fjobs",
    "%E2%80%A8",
]


@pytest.mark.parametrize("job_id", ODD)
def test_odd_ids_are_ids_of_no_job(client: TestClient, job_id: str) -> None:
    for method, verb in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/series"),
        ("GET", "/series/summary"),
        ("GET", "/checkpoints"),
        ("GET", "/checkpoints/1"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/retry"),
    ):
        answer = client.request(method, f"/v1/jobs/{job_id}{verb}")
        assert answer.status_code in {404, 405}
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["name=%00", "kind=%00", "tag=a:%00", "tag=%00:a", "state=%00"])
def test_odd_filters_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/jobs?{query}").status_code == 422


def test_all_errors_at_once(client: TestClient) -> None:
    body = training_json(batch_size=0, seed=-1, surprise=1)
    assert sorted(pointers(client, body)) == ["/batch_size", "/seed", "/surprise"]


def test_no_more_errors_than_anyone_reads(client: TestClient) -> None:
    schedule = {"policy": "multi_step", "lr": 0.1, "milestones": ["x"] * 50_000}
    found = pointers(client, training_json(schedule=schedule))
    assert found == [f"/schedule/milestones/{i}" for i in range(100)]


def test_cycles_need_a_cyclical_policy(client: TestClient) -> None:
    schedule = {"policy": "constant", "lr": 0.1}
    body = training_json(schedule=schedule, length={"cycles": 2})
    assert pointers(client, body) == ["/length/cycles"]


def test_cycles_beyond_the_limit(client: TestClient) -> None:
    schedule = {**TRIANGULAR, "step_size": 10**9}
    assert pointers(client, training_json(schedule=schedule, length={"cycles": 1})) == [
        "/length/cycles",
    ]


@pytest.mark.parametrize("kind", [None, "sweep", 3, ["training"]])
def test_unknown_kinds(client: TestClient, kind: Any) -> None:
    pointers(client, training_json(kind=kind))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"job"',
        b"\xff\xfe",
        b'{"kind": "training", "seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"name": "\\ud800"}',
    ],
)
def test_bodies_that_are_no_job(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_body_that_is_too_large(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json=training_json(name="x" * 2_000_000))
    assert answer.status_code == 413
    headers = {"Content-Type": "application/json"}
    chunked = client.post("/v1/jobs", content=iter([b" " * 600_000] * 2), headers=headers)
    assert chunked.status_code == 413


def test_a_form_is_no_json(client: TestClient) -> None:
    assert client.post("/v1/jobs", data={"kind": "training"}).status_code == 422


@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/nothing", "/v1/jobs/a/b/c"])
def test_unknown_paths(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_unknown_methods(client: TestClient) -> None:
    answer = client.put("/v1/jobs")
    assert answer.status_code == 405
    assert answer.json()["title"] == "Method Not Allowed"


def test_a_fault_leaks_nothing(
    client: TestClient,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("store.jobs.get", lambda *_: 1 / 0)
    answer = client.get("/v1/jobs/job_1")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert answer.headers["X-Request-ID"]
