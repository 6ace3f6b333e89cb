"""Requests in the log and in traces: whose each was, and the way from a job to its request."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.app import create_app
from spec.access import Scope
from spec.settings import Settings
from store import keys
from store.database import Sessions
from telemetry import traces
from tests.api.conftest import NotedBroker
from tests.factories import queued, range_test_json, stored, training_json
from tests.logged import Written, logged

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "of-the-environment-0"


@pytest.fixture
def written() -> Iterator[Written]:
    with logged("json", SECRET) as found:
        yield found


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    traces.start("stepsize-test", None, exporter=exporter)
    yield exporter
    traces.stop()


def spans(exporter: InMemorySpanExporter) -> dict[str, Any]:
    traces.stop()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_is_one_record(client: TestClient, sessions: Sessions, written: Written) -> None:
    job = queued(sessions)
    client.get(f"/v1/jobs/{job.id}", headers={"X-Request-ID": "r-1"})
    (record,) = written.of("api.watching")
    assert record.pop("ts")
    assert 0 < record.pop("ms") < 10_000
    assert record.pop("message").startswith("request GET /v1/jobs/{job_id} 200 ")
    assert record == {
        "level": "INFO",
        "logger": "api.watching",
        "request_id": "r-1",
        "job": job.id,
        "owner": "default",
        "method": "GET",
        "route": "/v1/jobs/{job_id}",
        "status": 200,
        "caller": "client",
    }


def test_what_no_route_answers_is_one_too(client: TestClient, written: Written) -> None:
    client.get("/nowhere/%0aINFO%20forged")
    client.request("MADEUP", "/v1/jobs")
    first, second = written.of("api.watching")
    assert (first["status"], "route" in first) == (404, False)
    assert (second["status"], second["method"]) == (405, "_OTHER")
    assert "forged" not in written.text


def test_what_is_asked_every_second_is_not_told(client: TestClient, written: Written) -> None:
    client.get("/healthz")
    client.get("/metrics")
    assert written.of("api.watching") == []


def test_unless_it_fails(client: TestClient, written: Written, monkeypatch: Any) -> None:
    monkeypatch.setattr("store.pages.find", lambda *_, **__: 1 / 0)
    assert client.get("/readyz").status_code == 500
    (record,) = written.of("api.watching")
    assert (record["level"], record["status"]) == ("WARNING", 500)
    (fault,) = written.of("api.middleware")
    assert fault["request_id"] == record["request_id"]
    assert "ZeroDivisionError" in fault["exception"]


def test_what_an_endpoint_logs_is_about_its_request(
    client: TestClient, written: Written, monkeypatch: Any
) -> None:
    def told(*_: Any, **__: Any) -> None:
        logging.getLogger("api.jobs").info("here")

    monkeypatch.setattr("store.audit.note", told)
    answer = client.post("/v1/jobs", json=training_json(), headers={"X-Request-ID": "r-2"})
    assert answer.status_code == 201
    (record,) = written.of("api.jobs", "here")
    assert (record["request_id"], record["owner"]) == ("r-2", "default")


def test_from_a_job_to_its_request(client: TestClient, sessions: Sessions) -> None:
    headers = {"X-Request-ID": "r-3", "traceparent": GIVEN}
    job_id = client.post("/v1/jobs", json=training_json(), headers=headers).json()["id"]
    assert client.get(f"/v1/jobs/{job_id}").json()["request"] == "r-3"
    assert stored(sessions, job_id).traceparent == GIVEN  # handed on, although none are made here


@pytest.mark.parametrize(
    "wrong", ["", "00-0-0-01", GIVEN.upper(), GIVEN + "\n", "00-" + "0" * 32 + GIVEN[35:], "é"]
)
def test_a_traceparent_that_is_none_is_ignored(
    client: TestClient, sessions: Sessions, wrong: str
) -> None:
    headers = [("traceparent", wrong.encode())]
    answer = client.post("/v1/jobs", json=training_json(), headers=headers)
    assert stored(sessions, answer.json()["id"]).traceparent is None


def test_a_request_is_a_span_in_the_trace_of_its_client(
    client: TestClient, sessions: Sessions, exported: InMemorySpanExporter, written: Written
) -> None:
    headers = {"X-Request-ID": "r-4", "traceparent": GIVEN}
    job_id = client.post("/v1/jobs", json=training_json(), headers=headers).json()["id"]
    client.get("/healthz")
    client.get(f"/v1/jobs/{job_id}")
    found = spans(exported)
    assert set(found) == {"POST /v1/jobs", "GET /v1/jobs/{job_id}"}
    made = found["POST /v1/jobs"]
    trace, parent = GIVEN.split("-")[1:3]
    assert (f"{made.context.trace_id:032x}", f"{made.parent.span_id:016x}") == (trace, parent)
    assert made.kind.name == "SERVER"
    assert made.resource.attributes["service.name"] == "stepsize-test"
    assert made.attributes["http.response.status_code"] == 201
    assert made.attributes["request_id"] == "r-4"
    assert stored(sessions, job_id).traceparent == f"00-{trace}-{made.context.span_id:016x}-01"
    assert found["GET /v1/jobs/{job_id}"].parent is None
    assert written.of("api.watching")[0]["trace_id"] == trace


def test_every_job_of_a_batch_has_its_request(
    client: TestClient, sessions: Sessions, exported: InMemorySpanExporter
) -> None:
    body = {"jobs": [training_json(), range_test_json()]}
    answer = client.post("/v1/jobs:batch", json=body, headers={"X-Request-ID": "r-5"})
    jobs = [stored(sessions, each["id"]) for each in answer.json()["data"]]
    assert [each.request for each in jobs] == ["r-5", "r-5"]
    (span,) = spans(exported).values()
    own = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-"
    assert all(str(each.traceparent).startswith(own) for each in jobs)


def test_a_client_that_wants_no_trace_has_none(
    client: TestClient, sessions: Sessions, exported: InMemorySpanExporter
) -> None:
    unsampled = GIVEN[:-2] + "00"
    answer = client.post("/v1/jobs", json=training_json(), headers={"traceparent": unsampled})
    assert spans(exported) == {}
    kept = stored(sessions, answer.json()["id"]).traceparent
    assert kept is not None
    assert (kept[:35], kept[-3:]) == (unsampled[:35], "-00")


def test_no_secret_is_in_the_log(
    sessions: Sessions, settings: Settings, written: Written, exported: InMemorySpanExporter
) -> None:
    settings = settings.model_copy(update={"host": "0.0.0.0", "api_key": SECRET})
    app = create_app(sessions, NotedBroker(), settings)
    client = TestClient(app, base_url="https://ss.example", raise_server_exceptions=False)
    with sessions.begin() as tx:
        key, secret = keys.issue(tx, name="a", owner="ada", scopes=set(Scope))
    for given in (secret, SECRET, "wrong-but-somebodys"):
        bearer = {"Authorization": f"Bearer {given}"}
        client.get("/v1/jobs", headers=bearer)
        client.get(f"/v1/jobs/{given}", headers=bearer)
        client.get("/v1/jobs", params={"q": given}, headers=bearer)
        client.post("/v1/session", json={"key": given}, headers={"Sec-Fetch-Site": "same-origin"})
        client.get("/v1/jobs")  # with the cookie
        client.post("/v1/jobs", json={"key": given}, headers=bearer)
        client.get(f"/{given}")
        client.cookies.clear()
    assert len(written.of("api.watching")) == 21
    told = " ".join(f"{span.name} {span.attributes}" for span in spans(exported).values())
    for given in (secret, SECRET, "wrong-but-somebodys"):
        assert given not in written.text
        assert given not in told
    assert key.owner in written.text
