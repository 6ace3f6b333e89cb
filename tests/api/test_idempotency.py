"""A submission that is sent again with its key makes no second job."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import update

from api.reconciler import Patience, Reconciler
from spec.access import DEFAULT_OWNER
from spec.settings import Settings
from store import idempotency
from store.database import Sessions
from store.instants import from_now
from store.tables import idempotency as table
from tests.api.conftest import NotedBroker
from tests.factories import training_json
from tests.store.racing import at_once


def submit(client: TestClient, key: str, **changes: Any) -> Response:
    body = training_json(**changes)
    answer: Response = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
    return answer


def count(client: TestClient) -> int:
    return len(client.get("/v1/jobs").json()["data"])


def test_the_first_answer_again(client: TestClient, broker: NotedBroker) -> None:
    first = submit(client, "k")
    again = submit(client, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["Content-Type"] == again.headers["Content-Type"] == "application/json"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(broker.woken) == count(client) == 1


def test_the_first_answer_again_when_the_job_has_changed(client: TestClient) -> None:
    first = submit(client, "k")
    client.post(f"{first.headers['Location']}/cancel")
    assert submit(client, "k").json()["state"] == "queued"


def test_other_keys_and_none_make_other_jobs(client: TestClient) -> None:
    submit(client, "k")
    submit(client, "other ~!")
    for _ in range(2):
        client.post("/v1/jobs", json=training_json())
    assert count(client) == 4


def test_another_body_is_refused(client: TestClient) -> None:
    submit(client, "k")
    refused = submit(client, "k", seed=1)
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/Idempotency-Key"
    assert "use a new one" in error["detail"]
    assert count(client) == 1


def test_a_refused_request_is_not_remembered(client: TestClient) -> None:
    for changes in ({"batch_size": 0}, {"model": {"name": "perceptron"}}):
        assert submit(client, "k", **changes).status_code == 422
    assert submit(client, "k").status_code == 201


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"tab\there", b"caf\xe9"])
def test_keys_that_are_none(client: TestClient, key: bytes) -> None:
    headers = {b"Idempotency-Key": key}
    answer = client.post("/v1/jobs", json=training_json(), headers=headers)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/Idempotency-Key"]
    assert submit(client, "x" * 255).status_code == 201


def test_in_flight_is_409(client: TestClient, sessions: Sessions) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: the second request waits for its turn")
    with sessions.begin() as tx:
        idempotency.earlier(tx, caller=DEFAULT_OWNER, key="k")
        answer = submit(client, "k")
    assert answer.status_code == 409
    assert answer.headers["Retry-After"]
    assert "send it again" in answer.json()["detail"]
    assert submit(client, "k").status_code == 201


def test_at_once_there_is_one_job(client: TestClient) -> None:
    answers = at_once(*[lambda: submit(client, "k")] * 4)
    assert {answer.status_code for answer in answers} <= {201, 409}
    done = {answer.content for answer in answers if answer.status_code == 201}
    assert len(done) == count(client) == 1


def test_the_reconciler_forgets(
    client: TestClient,
    sessions: Sessions,
    broker: NotedBroker,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit(client, "k")
    monkeypatch.setattr(Patience, "over", lambda _: True)
    reconciler = Reconciler(sessions, broker, settings)

    def kept() -> int:
        reconciler.step()
        with sessions.read() as tx:
            return len(tx.execute(table.select()).all())

    assert kept() == 1
    with sessions.begin() as tx:
        tx.execute(update(table).values(created_at=from_now(-timedelta(hours=25))))
    assert kept() == 0


def test_the_contract_names_it(client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]
    assert "Idempotency-Key" in {each["name"] for each in post["parameters"]}
    assert "Idempotency-Replayed" in post["responses"]["201"]["headers"]
    assert "$ref" in post["responses"]["201"]["content"]["application/json"]["schema"]
