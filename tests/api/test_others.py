"""Catalogue, workers, health, documentation, and what surrounds every request."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from api.app import create_app
from migrations.run import upgrade
from spec.settings import Settings
from spec.states import Reason
from store import leases, quarantine, workers
from store.database import Sessions, connect
from tests.api.conftest import NotedBroker
from tests.factories import claimed, queued, training_json


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", {"mlp", "lenet", "resnet"}),
        ("datasets", {"digits", "fashion-mnist", "mnist", "cifar10", "synthetic", "arrays"}),
        (
            "optimizers",
            {"sgd", "adam", "adamw", "rmsprop", "sgd_schedulefree", "adamw_schedulefree"}
            | {"prodigy"},
        ),
    ],
)
def test_catalogue(client: TestClient, kind: str, names: set[str]) -> None:
    entries = client.get(f"/v1/{kind}").json()["data"]
    assert {entry["name"] for entry in entries} == names
    assert all(entry["parameters"]["type"] == "object" for entry in entries)
    assert all(entry["description"] for entry in entries)


def test_workers(client: TestClient, sessions: Sessions) -> None:
    assert client.get("/v1/workers").json() == {"data": []}
    job = queued(sessions)
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="cpu-1@host",
            device="cpu",
            state="busy",
            job_id=job.id,
            queues=["default"],
            versions={"torch": "2.13.0"},
            started_at=datetime.now(UTC),
        )
    (worker,) = client.get("/v1/workers").json()["data"]
    assert worker.items() >= {"name": "cpu-1@host", "state": "busy", "job": job.id}.items()


def test_a_worker_is_asked_to_take_no_more_jobs(client: TestClient, sessions: Sessions) -> None:
    def reported() -> None:
        with sessions.begin() as tx:
            workers.report(
                tx,
                name="gpu-0@host-1.example",
                device="cuda:0",
                state="busy",
                job_id="job_1",
                queues=["default"],
                versions={},
                started_at=datetime.now(UTC),
            )

    reported()
    url = "/v1/workers/gpu-0@host-1.example"
    for _ in range(2):
        answer = client.post(f"{url}/drain")
        assert answer.status_code == 200
        assert answer.json()["name"] == "gpu-0@host-1.example"
        reported()  # which takes nothing back
        assert client.get("/v1/workers").json()["data"][0]["state"] == "draining"
    assert client.post(f"{url}/undrain").json()["state"] == "busy"


def test_a_worker_in_quarantine_is_shown_counted_and_released(
    client: TestClient, sessions: Sessions
) -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="cuda-1@a",
            device="cuda:0",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
            unit="GPU-1",
        )
    for _ in range(quarantine.STRIKES):
        queued(sessions)
        lease = claimed(sessions, worker="cuda-1@a")
        with sessions.begin() as tx:
            leases.fail(tx, lease, Reason.STALLED, "")
    (shown,) = client.get("/v1/workers").json()["data"]
    assert shown["state"] == "quarantined"
    assert shown["quarantine"]["reason"].startswith("3 jobs were lost or hung here")
    assert shown["quarantine"]["until"] > shown["last_heartbeat"]
    told = client.get("/metrics").text
    assert 'stepsize_workers{device="cuda",state="quarantined"} 1.0' in told
    released = client.post("/v1/workers/cuda-1@a/release")
    assert (released.json()["state"], released.json()["quarantine"]) == ("idle", None)
    assert client.post("/v1/workers/nobody/release").status_code == 404


@pytest.mark.parametrize("name", ["gpu-1@host", "%00", "'--", "%E2%80%A8", "x" * 5000])
def test_no_such_worker(client: TestClient, name: str) -> None:
    answer = client.post(f"/v1/workers/{name}/drain")
    assert answer.status_code == 404
    assert "GET /v1/workers" in answer.json()["detail"]


def test_health(client: TestClient, broker: NotedBroker) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
    broker.down = True
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("broker: connection refused")
    assert answer.headers["Retry-After"]


def unmigrated(sessions: Sessions, folder: Path) -> Iterator[Sessions]:
    if sessions.engine.dialect.name == "sqlite":
        yield connect(f"sqlite:///{folder}/empty.db")
        return
    autocommit = sessions.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE unmigrated")
    url = sessions.engine.url.set(database="unmigrated")
    yield connect(url.render_as_string(hide_password=False))
    with autocommit.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE unmigrated WITH (FORCE)")


@pytest.fixture
def empty(sessions: Sessions, tmp_path: Path) -> Iterator[Sessions]:
    for opened in unmigrated(sessions, tmp_path):
        yield opened
        opened.close()


def test_a_database_that_is_not_migrated(settings: Settings, empty: Sessions) -> None:
    client = TestClient(create_app(empty, NotedBroker(), settings), base_url="http://127.0.0.1")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "stepsize migrate" in answer.json()["detail"]
    answer = client.get("/v1/jobs")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_full_disk_is_a_503_that_says_so(settings: Settings, tmp_path: Path) -> None:
    full = connect(f"sqlite:///{tmp_path / 'stepsize.db'}")
    if not settings.database_url.startswith("sqlite"):
        pytest.skip("SQLite can be told to be full")
    upgrade(full)
    with full.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    event.listen(
        full.engine,
        "checkout",
        lambda connection, *_: connection.execute(f"PRAGMA max_page_count={pages}"),
    )
    client = TestClient(create_app(full, NotedBroker(), settings), base_url="http://127.0.0.1")
    answers = [client.post("/v1/jobs", json=training_json(name="x" * 200)) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {answer.status_code for answer in refused} == {503}
    assert "disk is full" in refused[0].json()["detail"]
    assert client.get("/v1/jobs").status_code == 200
    full.close()


def test_documentation_needs_no_network(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert "https://" not in page.text
    assert client.get("/docs/assets/swagger-ui-bundle.js").status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/docs", "/v1/jobs", "/v1/jobs/job_x", "/nothing"]
)
def test_pages_may_load_and_ask_nobody_but_this_server(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(each.split(maxsplit=1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    if path == "/docs":
        assert re.fullmatch(r"'self' 'sha256-[\w+/]{43}='", policy["script-src"])
    else:
        assert policy["script-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


def test_the_contract_is_openapi_3_1(client: TestClient) -> None:
    contract = client.get("/openapi.json").json()
    assert contract["openapi"].startswith("3.1")
    assert contract["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]


def test_every_answer_has_a_request_id(client: TestClient) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": "trace-7"})
    assert given.headers["X-Request-ID"] == "trace-7"
    for path in ("/healthz", "/nothing", "/v1/jobs/job_x"):
        assert len(client.get(path).headers["X-Request-ID"]) == 32
    mad = client.get("/healthz", headers={"X-Request-ID": "a b"})
    assert mad.headers["X-Request-ID"] != "a b"


def test_without_a_key_only_this_machine_is_answered(client: TestClient) -> None:
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil:80", "[::2]", ""):
        answer = client.get("/v1/jobs", headers={"Host": host})
        assert answer.status_code == 421
        assert answer.headers["Content-Type"] == "application/problem+json"
    for host in ("localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("asked", ["bytes=9999999-", "bytes=x", "lines=1-2,"])
def test_what_a_library_refuses_is_a_problem_too(client: TestClient, asked: str) -> None:
    answer = client.get("/app.js", headers={"Range": asked})
    assert answer.status_code in {200, 400, 416}
    if answer.status_code != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def test_a_wrong_method_is_told_all_that_the_path_takes(client: TestClient) -> None:
    for path, allowed in (("/v1/jobs", "GET, POST"), ("/v1/jobs/job_x", "DELETE, GET")):
        answer = client.patch(path)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == allowed
