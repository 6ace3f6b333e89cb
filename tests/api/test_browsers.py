"""What is done for browsers and slow lines: compression, and pages of other origins."""

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from spec.settings import Settings
from store.database import Sessions
from tests.api.conftest import Checkpointed, NotedBroker
from tests.factories import claimed, queued

ORIGIN = "https://notes.example"
KEY = "ss_0123456789abcdef"


@pytest.fixture
def shared(sessions: Sessions, settings: Settings) -> TestClient:
    """A client of a server with a key, whose API the pages of ORIGIN may ask."""
    changes = {"api_key": KEY, "cors_origins": (ORIGIN,)}
    app = create_app(sessions, NotedBroker(), settings.model_copy(update=changes))
    return TestClient(app, base_url="http://stepsize.example")


def test_large_json_is_compressed_for_those_who_read_it(
    client: TestClient, sessions: Sessions
) -> None:
    for _ in range(3):
        queued(sessions)
    answers = [
        client.get("/v1/jobs", headers={"Accept-Encoding": encoding})
        for encoding in ("gzip", "identity")
    ]
    assert [each.headers.get("Content-Encoding") for each in answers] == ["gzip", None]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]
    sizes = [int(each.headers["Content-Length"]) for each in answers]
    assert sizes[0] < sizes[1] / 2
    assert {each.headers["Vary"] for each in answers} == {"Accept-Encoding"}
    small = client.get("/healthz", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


def test_files_are_sent_as_they_are(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    content = checkpointed(claimed(sessions), 40)
    url = f"/v1/jobs/{job.id}/checkpoints/40"
    answer = client.get(url, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.content == content


def test_no_other_origin_may_ask_unless_it_is_named(client: TestClient) -> None:
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/jobs", headers=preflight).status_code == 405
    answer = client.get("/v1/jobs", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_origin_may_ask(shared: TestClient) -> None:
    asked = "authorization,content-type,idempotency-key,if-none-match,prefer"
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    allowed = shared.options("/v1/jobs", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    methods = allowed.headers["Access-Control-Allow-Methods"].split(", ")
    routes = [each for path in shared.app.openapi()["paths"].values() for each in path]
    assert {each.upper() for each in routes} <= set(methods)
    assert allowed.headers["X-Request-ID"]
    for headers in ({}, {"Authorization": f"Bearer {KEY}"}):
        answer = shared.get("/v1/jobs", headers={"Origin": ORIGIN, **headers})
        assert answer.status_code == (200 if headers else 401)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Idempotency-Replayed" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_is_told_of_a_fault(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = TestClient(shared.app, base_url=shared.base_url, raise_server_exceptions=False)
    monkeypatch.setattr("store.pages.find", lambda *_, **__: 1 / 0)
    answer = shared.get("/v1/jobs", headers={"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 500
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["X-Request-ID"] in answer.json()["detail"]


def test_others_still_may_not(shared: TestClient) -> None:
    preflight = {"Origin": f"{ORIGIN}.evil", "Access-Control-Request-Method": "POST"}
    refused = shared.options("/v1/jobs", headers=preflight)
    assert refused.status_code == 400
    assert "Access-Control-Allow-Origin" not in refused.headers
    answer = shared.get("/v1/jobs", headers={"Origin": "null", "Authorization": f"Bearer {KEY}"})
    assert "Access-Control-Allow-Origin" not in answer.headers
