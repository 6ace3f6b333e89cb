"""Every route, asked with every kind of key: none, a wrong one, each scope, another owner's."""

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from api.access import Gate
from api.app import create_app
from api.broker import Broker
from api.positions import Position, Topic
from api.session import COOKIE
from spec.access import Scope
from spec.settings import Settings
from store import keys, leases, workers
from store.database import Sessions, connect
from store.instants import from_now
from store.keys import Key
from store.tables import keys as keys_table
from tests.api.conftest import NotedBroker
from tests.api.listening import served
from tests.factories import claimed, queued, range_test_json, training_json

ORIGIN = "http://stepsize.example"
NOBODY = "ss_000000000000_" + "0" * 48

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/v1/session"),
    ("DELETE", "/v1/session"),
}
ADMIN = {
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/owners"),
    ("PUT", "/v1/owners/{owner}"),
    ("POST", "/v1/workers/{name}/drain"),
    ("POST", "/v1/workers/{name}/undrain"),
    ("POST", "/v1/workers/{name}/release"),
}
MOVES = ("cancel", "pause", "resume", "retry")
WRITE = {
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs:batch"),
    ("DELETE", "/v1/jobs/{job_id}"),
    ("POST", "/v1/retention"),
    ("DELETE", "/v1/retention/{rule_id}"),
    *(("POST", f"/v1/jobs/{{job_id}}/{verb}") for verb in MOVES),
    ("POST", "/v1/webhooks"),
    ("PATCH", "/v1/webhooks/{webhook_id}"),
    ("DELETE", "/v1/webhooks/{webhook_id}"),
    ("POST", "/v1/webhooks/{webhook_id}/test"),
    ("POST", "/v1/webhooks/{webhook_id}/rotate"),
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/retry"),
    ("POST", "/v1/sweeps"),
    *(
        ("POST", f"/v1/sweeps/{{sweep_id}}/{verb}")
        for verb in ("cancel", "pause", "resume", "retry")
    ),
}


def _routes() -> list[tuple[str, str]]:
    settings = Settings(database_url="sqlite:///unused.db", broker_url="redis://unused")
    app = create_app(connect(settings.database_url), Broker(settings.broker_url), settings)
    paths = app.openapi()["paths"]
    return [(verb.upper(), path) for path, verbs in paths.items() for verb in verbs]


ROUTES = _routes()
GUARDED = [route for route in ROUTES if route not in OPEN]
OF_A_SWEEP = [route for route in ROUTES if "{sweep_id}" in route[1]]
OF_A_WEBHOOK = [route for route in ROUTES if "{webhook_id}" in route[1]]
OF_A_JOB = [route for route in ROUTES if "{job_id}" in route[1]]

WANTED = {"/v1/sweeps/{sweep_id}/pairs": "?x=/seed&y=/batch_size"}
"""Parameters without which a route answers nobody."""

NAMES = {
    "job": "job",
    "key": "key",
    "swp": "sweep",
    "ret": "rule",
    "whk": "webhook",
    "msg": "delivery",
}

IssueKey = Callable[..., str]


@pytest.fixture
def guarded(sessions: Sessions, settings: Settings) -> TestClient:
    """A server that everybody reaches."""
    settings = settings.model_copy(update={"host": "0.0.0.0"})
    app = create_app(sessions, NotedBroker(), settings)
    return TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)


@pytest.fixture
def issue(sessions: Sessions) -> IssueKey:
    def made(owner: str = "ada", *scopes: Scope) -> str:
        with sessions.begin() as tx:
            return keys.issue(tx, name=f"{owner}'s", owner=owner, scopes=scopes or set(Scope))[1]

    return made


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(
    client: TestClient,
    route: tuple[str, str],
    headers: Mapping[str, str],
    *,
    job_id: str = "job_0",
    sweep_id: str = "swp_0",
    webhook_id: str = "whk_0",
    delivery_id: str = "msg_0",
    query: str = "",
    body: Any = None,
) -> httpx2.Response:
    method, path = route
    filled = path.format_map(
        {
            "job_id": job_id,
            "sweep_id": sweep_id,
            "iteration": 1,
            "name": "w",
            "key_id": "key_0",
            "owner": "ada",
            "rule_id": "ret_0",
            "webhook_id": webhook_id,
            "delivery_id": delivery_id,
        }
    )
    where = filled + (query or WANTED.get(path, ""))
    return client.request(method, where, headers=dict(headers), json=body)


def is_problem(answer: httpx2.Response, status: int) -> bool:
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-ID"]
    return bool(answer.status_code == status == answer.json()["status"])


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_without_a_good_key_no_route_answers(
    guarded: TestClient, issue: IssueKey, sessions: Sessions, route: tuple[str, str]
) -> None:
    expired = issue("ada")
    with sessions.begin() as tx:
        tx.execute(keys_table.update().values(expires_at=from_now(timedelta(seconds=-1))))
    good = issue("ada")
    refused: list[dict[str, str]] = [
        {},
        {"Authorization": good},
        {"Authorization": f"Basic {good}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xff"},
        {"Cookie": "stepsize_key="},
        {"Cookie": f'{COOKIE}="\\000'},
        *(with_key(each) for each in (expired, NOBODY, good[:-1], good.upper(), "x" * 5_000)),
        {"Cookie": f"{COOKIE}={expired}"},
    ]
    for headers in refused:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = ask(guarded, route, encoded)  # type: ignore[arg-type] # bytes are headers too
        assert is_problem(answer, 401), headers
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert ask(guarded, route, with_key(good)).status_code not in {401, 403}


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_each_route_takes_one_scope_and_no_other(
    guarded: TestClient, issue: IssueKey, route: tuple[str, str]
) -> None:
    needs = Scope.ADMIN if route in ADMIN else Scope.WRITE if route in WRITE else Scope.READ
    for scope in Scope:
        answer = ask(guarded, route, with_key(issue("ada", scope)))
        if scope == needs:
            assert answer.status_code not in {401, 403}, answer.text
        else:
            assert is_problem(answer, 403)
            assert f"the scope {needs}; yours has {scope}" in answer.json()["detail"]
    others = [scope for scope in Scope if scope != needs]
    assert ask(guarded, route, with_key(issue("ada", *others))).status_code == 403


@pytest.mark.parametrize("route", sorted(OPEN), ids=" ".join)
def test_some_routes_are_for_all(guarded: TestClient, route: tuple[str, str]) -> None:
    assert ask(guarded, route, {}).status_code not in {401, 403}


def test_pages_and_documentation_are_for_all(guarded: TestClient) -> None:
    for path in ("/", "/docs", "/openapi.json", "/app.js"):
        assert guarded.get(path).status_code == 200, path


def test_no_spelling_of_a_path_goes_around_the_gate(guarded: TestClient) -> None:
    for path in {path for _, path in GUARDED} - {path for _, path in OPEN}:
        for spelled in (f"{path}%0a", f"{path}/", f"/%2e{path}", f"/docs/..{path}", f"{path};a"):
            for method in ("GET", "HEAD", "POST", "DELETE", "TRACE", "GETS"):
                answer = guarded.request(method, spelled, follow_redirects=True)
                assert answer.status_code in {401, 404, 405}, (method, spelled)


def test_the_contract_says_what_each_route_takes(guarded: TestClient) -> None:
    contract = guarded.get("/openapi.json").json()
    for method, path in ROUTES:
        operation = contract["paths"][path][method.lower()]
        if (method, path) in OPEN:
            assert "security" not in operation
            continue
        needs = "admin" if (method, path) in ADMIN else "write"
        needs = needs if (method, path) in ADMIN | WRITE else "read"
        assert operation["security"] == [{"key": [needs]}, {"cookie": [needs]}]
        assert {"401", "403", "429"} <= operation["responses"].keys()


@pytest.mark.parametrize("route", OF_A_JOB, ids=" ".join)
def test_what_is_anothers_is_not_there(
    guarded: TestClient, issue: IssueKey, route: tuple[str, str]
) -> None:
    mine, another = with_key(issue("ada")), with_key(issue("grace"))
    job = guarded.post("/v1/jobs", json=training_json(), headers=mine).json()
    assert job["owner"] == "ada"
    answer = ask(guarded, route, another, job_id=job["id"])
    assert is_problem(answer, 404)
    unknown = "job_" + "0" * 32
    missing = ask(guarded, route, another, job_id=unknown)
    assert answer.json()["detail"].replace(job["id"], unknown) == missing.json()["detail"]
    for media in ("text/csv", "application/vnd.apache.arrow.stream"):
        as_media = ask(guarded, route, {**another, "Accept": media}, job_id=job["id"])
        assert as_media.status_code == 404
    after = guarded.get(f"/v1/jobs/{job['id']}", headers=mine).json()
    assert [each["verb"] for each in after["history"]] == ["submit"]
    assert after["state"] == "queued"


@pytest.mark.parametrize("route", OF_A_SWEEP, ids=" ".join)
def test_anothers_sweep_is_not_there(
    guarded: TestClient, issue: IssueKey, route: tuple[str, str]
) -> None:
    mine, another = with_key(issue("ada")), with_key(issue("grace"))
    spec = {"template": training_json(), "space": {"/seed": [0, 1]}}
    sweep = guarded.post("/v1/sweeps", json=spec, headers=mine).json()
    answer = ask(guarded, route, another, sweep_id=sweep["id"])
    assert is_problem(answer, 404)
    unknown = "swp_" + "0" * 32
    missing = ask(guarded, route, another, sweep_id=unknown)
    assert answer.json()["detail"].replace(sweep["id"], unknown) == missing.json()["detail"]
    assert guarded.get(f"/v1/sweeps/{sweep['id']}", headers=mine).json() == sweep
    assert guarded.get("/v1/sweeps", headers=another).json()["data"] == []
    listed = guarded.get(f"/v1/jobs?sweep={sweep['id']}", headers=another).json()
    assert listed["data"] == []


@pytest.mark.parametrize("route", OF_A_WEBHOOK, ids=" ".join)
def test_anothers_webhook_is_not_there(
    guarded: TestClient, issue: IssueKey, route: tuple[str, str]
) -> None:
    mine, another = with_key(issue("ada")), with_key(issue("grace"))
    url = {"url": "https://hooks.example/ada"}
    webhook = guarded.post("/v1/webhooks", json=url, headers=mine).json()
    place = f"/v1/webhooks/{webhook['id']}"
    message = guarded.post(f"{place}/test", headers=mine).json()["id"]
    body = {"enabled": False} if route[0] == "PATCH" else None
    ids = {"webhook_id": webhook["id"], "delivery_id": message}
    answer = ask(guarded, route, another, body=body, **ids)
    assert is_problem(answer, 404)
    unknown = "whk_" + "0" * 32
    missing = ask(guarded, route, another, body=body, **(ids | {"webhook_id": unknown}))
    assert answer.json()["detail"].replace(webhook["id"], unknown) == missing.json()["detail"]
    assert guarded.get(place, headers=mine).json().items() <= webhook.items()
    (log,) = guarded.get(f"{place}/deliveries", headers=mine).json()["data"]
    assert (log["id"], log["attempts"], log["state"]) == (message, 0, "pending")
    assert guarded.get("/v1/webhooks", headers=another).json()["data"] == []


def test_no_other_way_leads_to_what_is_anothers(
    guarded: TestClient, issue: IssueKey, sessions: Sessions
) -> None:
    mine, another = with_key(issue("ada")), with_key(issue("grace"))
    job = guarded.post("/v1/jobs", json=range_test_json(name="secret"), headers=mine).json()
    lease = claimed(sessions)
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="w",
            device="cpu",
            state="busy",
            job_id=job["id"],
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
        )
        leases.succeed(tx, lease, {"suggestion": {"base_lr": 0.01, "max_lr": 0.1}})
    told = [
        guarded.get(f"/v1/series?jobs={job['id']}", headers=another),
        guarded.get(f"/v1/events?jobs={job['id']}", headers=another),
    ]
    assert [each.status_code for each in told] == [404, 404]
    for query in ("", "?q=secret", "?name=secret", "?kind=range_test", "?state=succeeded"):
        assert guarded.get(f"/v1/jobs{query}", headers=another).json()["data"] == []
        assert len(guarded.get(f"/v1/jobs{query}", headers=mine).json()["data"]) == 1
    shown = [
        guarded.get("/v1/workers", headers=each).json()["data"][0]["job"]
        for each in (mine, another)
    ]
    assert shown == [job["id"], None]
    bounds = {name: {"range_test": job["id"]} for name in ("base_lr", "max_lr")}
    schedule = {"policy": "triangular", "step_size": 10, **bounds}
    preview = {"schedule": schedule, "iterations": 10}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/jobs", training_json(schedule=schedule)),
        ("/v1/jobs", training_json(**{"from": {"job": job["id"]}})),
        ("/v1/jobs:batch", {"jobs": [training_json(schedule=schedule)]}),
        ("/v1/schedules/preview", preview),
    ]
    for path, body in asked:
        refused = guarded.post(path, json=body, headers=another)
        assert refused.status_code == 422, path
        assert f"there is no job {job['id']}" in refused.text
    assert guarded.post("/v1/schedules/preview", json=preview, headers=mine).status_code == 200
    dry = [
        guarded.post("/v1/jobs/preview", json=training_json(schedule=schedule), headers=each).json()
        for each in (another, mine)
    ]
    assert [each["valid"] for each in dry] == [False, True]
    assert f"there is no job {job['id']}" in dry[0]["problems"][0]["detail"]


def test_no_stream_tells_of_what_is_anothers_wherever_it_says_it_was(
    guarded: TestClient, issue: IssueKey
) -> None:
    mine, another = with_key(issue("ada")), with_key(issue("grace"))
    secret = guarded.post("/v1/jobs", json=training_json(name="secret"), headers=mine).json()["id"]
    own = guarded.post("/v1/jobs", json=training_json(), headers=another).json()["id"]
    before = {secret: Position(), own: Position()}
    # as if both had been on a stream: what was deleted meanwhile does not end the others
    last = Topic((secret, own), (), "", 0, many=True).id_of(before)
    with served(guarded.app) as server:  # type: ignore[arg-type] # it is the application
        stream = server.listening(
            "/v1/events", last, headers=another, jobs=f"{secret},{own}", names=""
        )
        with stream as (answer, arriving):
            assert answer.status_code == 200
            told = [next(arriving), next(arriving)]
            guarded.post(f"/v1/jobs/{secret}/cancel", headers=mine)
            guarded.post(f"/v1/jobs/{own}/cancel", headers=another)
            told += [event for event in arriving if event.name]
    of_secret = [event for event in told if secret in str(event.data)]
    assert [event.data["reason"] for event in of_secret] == ["deleted"]
    assert [event.name for event in told if own in str(event.data)] == ["state", "state", "end"]


def test_keys_of_one_owner_see_the_same(guarded: TestClient, issue: IssueKey) -> None:
    first, second = with_key(issue("ada")), with_key(issue("ada"))
    job = guarded.post("/v1/jobs", json=training_json(), headers=first).json()
    assert guarded.get(f"/v1/jobs/{job['id']}", headers=second).status_code == 200


def test_an_idempotency_key_is_its_owners(guarded: TestClient, issue: IssueKey) -> None:
    once = {"Idempotency-Key": "k"}
    made = [
        guarded.post("/v1/jobs", json=training_json(), headers=with_key(issue(owner)) | once)
        for owner in ("ada", "grace", "ada")
    ]
    first, others, again = made
    assert {each.status_code for each in made} == {201}
    assert first.json()["id"] != others.json()["id"]
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"


def test_every_change_is_in_the_audit_trail(
    guarded: TestClient, issue: IssueKey, sessions: Sessions
) -> None:
    headers = with_key(issue("ada"))
    me = guarded.get("/v1/session", headers=headers).json()
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="w",
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
        )
    requests: dict[str, str] = {}

    def change(method: str, path: str, body: object = None) -> Any:
        answer = guarded.request(method, path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        ids = rf"({'|'.join(NAMES)})_\w+"
        pattern = re.sub(ids, lambda m: f"{{{NAMES[m.group(1)]}_id}}", path)
        requests[answer.headers["X-Request-ID"]] = (
            f"{method} {pattern.replace('/w/', '/{name}/').replace('/ada', '/{owner}')}"
        )
        return answer.json() if answer.content else None

    job = change("POST", "/v1/jobs", training_json())["id"]
    for verb in ("pause", "resume", "cancel", "retry", "cancel"):
        change("POST", f"/v1/jobs/{job}/{verb}")
    change("DELETE", f"/v1/jobs/{job}")
    change("POST", "/v1/jobs:batch", {"jobs": [training_json()] * 2})
    spec = {"template": training_json(), "space": {"/seed": [0, 1]}}
    sweep = change("POST", "/v1/sweeps", spec)["id"]
    for verb in ("pause", "resume", "retry", "cancel"):
        change("POST", f"/v1/sweeps/{sweep}/{verb}")
    webhook = change("POST", "/v1/webhooks", {"url": "https://hooks.example/"})["id"]
    change("PATCH", f"/v1/webhooks/{webhook}", {"events": ["job.failed"]})
    change("POST", f"/v1/webhooks/{webhook}/rotate")
    message = change("POST", f"/v1/webhooks/{webhook}/test")["id"]
    change("POST", f"/v1/webhooks/{webhook}/deliveries/{message}/retry")
    change("DELETE", f"/v1/webhooks/{webhook}")
    change("POST", "/v1/workers/w/drain")
    change("POST", "/v1/workers/w/undrain")
    change("POST", "/v1/workers/w/release")
    key = change("POST", "/v1/keys", {"name": "ci"})["id"]
    change("DELETE", f"/v1/keys/{key}")
    change("PUT", "/v1/owners/ada", {"share": 2})
    rule = change("POST", "/v1/retention", {"what": "series", "after_days": 30})["id"]
    change("DELETE", f"/v1/retention/{rule}")
    assert set(requests.values()) == {
        f"{m} {p}" for m, p in WRITE | {route for route in ADMIN if route[0] != "GET"}
    }
    entries = guarded.get("/v1/audit?limit=500", headers=headers).json()["data"]
    assert [each["request"] for each in reversed(entries)] == list(requests)
    assert {(e["owner"], e["actor"], e["key"]) for e in entries} == {("ada", "ada's", me["key"])}
    assert entries[-1] | {"at": None} == {
        "id": entries[-1]["id"],
        "at": None,
        "owner": "ada",
        "actor": "ada's",
        "key": me["key"],
        "verb": "submit",
        "target": job,
        "request": next(iter(requests)),
    }
    first = guarded.get("/v1/audit?limit=5", headers=headers).json()
    rest = guarded.get(f"/v1/audit?limit=500&cursor={first['next_cursor']}", headers=headers).json()
    assert first["data"] + rest["data"] == entries
    assert rest["next_cursor"] is None


def test_what_fails_is_not_in_the_audit_trail(guarded: TestClient, issue: IssueKey) -> None:
    headers = with_key(issue("ada"))
    assert guarded.post("/v1/jobs", json={}, headers=headers).status_code == 422
    assert guarded.post("/v1/jobs/job_0/cancel", headers=headers).status_code == 404
    assert guarded.get("/v1/audit", headers=headers).json() == {"data": [], "next_cursor": None}


def test_the_history_of_a_job_names_the_key(guarded: TestClient, issue: IssueKey) -> None:
    headers = with_key(issue("ada"))
    job = guarded.post("/v1/jobs", json=training_json(), headers=headers).json()["id"]
    guarded.post(f"/v1/jobs/{job}/cancel", headers=headers)
    history = guarded.get(f"/v1/jobs/{job}", headers=headers).json()["history"]
    assert [each["actor"] for each in history] == ["ada's", "ada's"]


def test_a_key_is_made_listed_used_and_revoked(guarded: TestClient, issue: IssueKey) -> None:
    admin = with_key(issue("root", Scope.ADMIN))
    answer = guarded.post("/v1/keys", json={"name": "grace"}, headers=admin)
    assert answer.status_code == 201
    made = answer.json()
    secret = made.pop("secret")
    assert secret.startswith(made["prefix"])
    assert (made["owner"], made["scopes"]) == ("grace", ["read", "write"])
    assert made["last_used_at"] is made["expires_at"] is None
    listed = guarded.get("/v1/keys", headers=admin)
    assert made in listed.json()["data"]
    assert secret not in listed.text
    me = guarded.get("/v1/session", headers=with_key(secret)).json()
    assert (me["owner"], me["key"], me["scopes"]) == ("grace", made["id"], ["read", "write"])
    assert not me["anonymous"]
    used = guarded.get("/v1/keys", headers=admin).json()["data"]
    (mine,) = [each for each in used if each["id"] == made["id"]]
    assert mine["last_used_at"] is not None
    assert guarded.delete(f"/v1/keys/{made['id']}", headers=admin).status_code == 204
    assert guarded.get("/v1/session", headers=with_key(secret)).status_code == 401
    for unknown in (made["id"], "x", "key_%00", "key_é"):
        assert guarded.delete(f"/v1/keys/{unknown}", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "a" * 65}, "/name"),
        ({"owner": ""}, "/owner"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"scopes": ["read", "read"]}, "/scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "9999-01-01T00:00:00Z"}, "/expires_at"),
        ({"secret": "mine"}, "/secret"),
    ],
)
def test_what_is_no_key_to_be_made(
    guarded: TestClient, issue: IssueKey, changes: dict[str, Any], pointer: str
) -> None:
    body = {"name": "ci", **changes}
    answer = guarded.post("/v1/keys", json=body, headers=with_key(issue("root", Scope.ADMIN)))
    assert answer.status_code == 422
    assert pointer in {each["pointer"] for each in answer.json()["errors"]}


def test_a_key_that_asks_too_often_waits(sessions: Sessions, settings: Settings) -> None:
    changes = {"require_key": True, "requests_per_minute": 3}
    app = create_app(sessions, NotedBroker(), settings.model_copy(update=changes))
    client = TestClient(app, base_url=ORIGIN)
    with sessions.begin() as tx:
        one, other = (keys.issue(tx, name=n, owner=n, scopes=set(Scope))[1] for n in "ab")
    answers = [client.get("/v1/models", headers=with_key(one)) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert is_problem(answers[-1], 429)
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 120
    assert client.get("/v1/models", headers=with_key(other)).status_code == 200


def test_where_no_key_is_wanted_one_still_counts(client: TestClient, issue: IssueKey) -> None:
    job = client.post("/v1/jobs", json=training_json(), headers=with_key(issue("ada"))).json()
    assert job["owner"] == "ada"
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert client.get("/v1/jobs", headers=with_key(NOBODY)).status_code == 401
    assert client.get("/v1/session").json()["anonymous"]
    # a cookie may come from another service of this machine
    assert client.get("/v1/jobs", headers={"Cookie": f"{COOKIE}={NOBODY}"}).status_code == 200


def test_the_key_of_the_environment_does_all(sessions: Sessions, settings: Settings) -> None:
    secret = "0123456789abcdef"
    app = create_app(sessions, NotedBroker(), settings.model_copy(update={"api_key": secret}))
    client = TestClient(app, base_url=ORIGIN)
    queued(sessions)
    assert client.get("/v1/jobs").status_code == 401
    assert client.get("/v1/jobs", headers=with_key(f"{secret}0")).status_code == 401
    assert len(client.get("/v1/jobs", headers=with_key(secret)).json()["data"]) == 1
    me = client.get("/v1/session", headers=with_key(secret)).json()
    assert me["scopes"] == ["admin", "read", "write"]
    assert me["owner"] == "default"


def test_a_key_that_was_made_for_a_client_is_none_of_the_environment(
    sessions: Sessions, settings: Settings, issue: IssueKey
) -> None:
    key = issue("ada", Scope.READ)
    app = create_app(sessions, NotedBroker(), settings.model_copy(update={"api_key": key}))
    client = TestClient(app, base_url=ORIGIN)
    me = client.get("/v1/session", headers=with_key(key)).json()
    assert (me["owner"], me["scopes"]) == ("ada", ["read"])
    app.state.gate.forget(me["key"])
    with sessions.begin() as tx:
        keys.revoke(tx, me["key"])
    assert client.get("/v1/session", headers=with_key(key)).status_code == 401
    assert client.get("/v1/session").status_code == 401


def test_a_browser_signs_in_and_out(guarded: TestClient, issue: IssueKey) -> None:
    key = issue("ada", Scope.READ, Scope.WRITE)
    refused = guarded.post("/v1/session", json={"key": NOBODY})
    assert is_problem(refused, 401)
    assert "Set-Cookie" not in refused.headers
    signed = guarded.post("/v1/session", json={"key": f" {key} "})
    assert signed.json()["owner"] == "ada"
    cookie = signed.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}={key}; HttpOnly; Max-Age=2592000; Path=/; SameSite=strict")
    assert guarded.get("/v1/jobs").status_code == 200  # the client keeps its cookies
    guarded.delete("/v1/session")
    assert guarded.get("/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    "others", ['prefs={"a": 1}; ', "a b=1; ", "flag; ", 'x@y:="; ', "=; ", "a=\xff; "]
)
def test_the_cookie_is_found_beside_those_of_other_services(
    guarded: TestClient, issue: IssueKey, others: str
) -> None:
    cookies = f"{others}{COOKIE}={issue('ada')}; b=2".encode("latin-1")
    assert guarded.get("/v1/jobs", headers={b"Cookie": cookies}).status_code == 200


def test_over_tls_the_cookie_is_for_tls_only(guarded: TestClient, issue: IssueKey) -> None:
    secure = TestClient(guarded.app, base_url="https://stepsize.example")
    signed = secure.post("/v1/session", json={"key": issue("ada")})
    assert "Secure" in signed.headers["Set-Cookie"]
    # behind a proxy that says nothing of TLS, the browser does
    origin = {"Origin": ORIGIN.replace("http", "https")}
    signed = guarded.post("/v1/session", json={"key": issue("ada")}, headers=origin)
    assert "Secure" in signed.headers["Set-Cookie"]


def test_a_browser_signs_in_with_no_key_that_sees_nothing(
    guarded: TestClient, issue: IssueKey
) -> None:
    refused = guarded.post("/v1/session", json={"key": issue("ci", Scope.WRITE, Scope.ADMIN)})
    assert is_problem(refused, 403)
    assert "the scope read; yours has admin, write" in refused.json()["detail"]
    assert "Set-Cookie" not in refused.headers


SAME = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
    {"Origin": "http://evil.example"},
    {"Origin": f"{ORIGIN}.evil"},
    {"Origin": "null"},
    {"Origin": "http://["},
]


@pytest.mark.parametrize("route", sorted(WRITE | ADMIN), ids=" ".join)
def test_a_foreign_page_cannot_use_the_cookie(
    guarded: TestClient, issue: IssueKey, route: tuple[str, str]
) -> None:
    cookie = {"Cookie": f"{COOKIE}={issue('ada')}"}
    if route[0] == "GET":  # what it answers a foreign page cannot read
        assert ask(guarded, route, cookie).status_code == 200
        return
    for headers in ({}, *FOREIGN):
        assert is_problem(ask(guarded, route, cookie | headers), 403), headers
    for headers in (SAME, {"Origin": ORIGIN}, {"Sec-Fetch-Site": "none"}):
        assert ask(guarded, route, cookie | headers).status_code not in {401, 403}


def test_a_foreign_page_signs_nobody_in_or_out(guarded: TestClient, issue: IssueKey) -> None:
    for headers in FOREIGN:
        refused = guarded.post("/v1/session", json={"key": issue("eve")}, headers=headers)
        assert is_problem(refused, 403)
        assert guarded.delete("/v1/session", headers=headers).status_code == 403


def test_a_foreign_page_changes_nothing_where_no_key_is_wanted(client: TestClient) -> None:
    job = client.post("/v1/jobs", json=training_json()).json()["id"]
    for headers in FOREIGN:
        assert client.post(f"/v1/jobs/{job}/cancel", headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert client.post(f"/v1/jobs/{job}/cancel", headers=own).status_code == 200


def test_a_page_of_the_service_may_be_named_as_another_origin_too(
    sessions: Sessions, settings: Settings, issue: IssueKey
) -> None:
    changes = {"require_key": True, "cors_origins": (ORIGIN,)}
    app = create_app(sessions, NotedBroker(), settings.model_copy(update=changes))
    client = TestClient(app, base_url=ORIGIN)
    headers = {"Cookie": f"{COOKIE}={issue('ada')}", "Origin": ORIGIN}
    for more in (SAME, {}):
        answer = client.post("/v1/jobs", json=training_json(), headers=headers | more)
        assert answer.status_code == 201


def test_a_key_is_looked_up_once_a_second(
    guarded: TestClient, issue: IssueKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look_up = Gate._looked_up
    monkeypatch.setattr(
        Gate, "_looked_up", lambda gate, text: looked.append(text) or look_up(gate, text)
    )
    headers = with_key(issue("ada"))
    for _ in range(5):
        assert guarded.get("/v1/models", headers=headers).status_code == 200
    assert len(looked) == 1


def test_no_reader_waits_until_the_use_of_a_key_is_noted(
    guarded: TestClient, issue: IssueKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, noted = threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        noting.set()
        assert noted.wait(30)

    monkeypatch.setattr(keys, "touch", slowly)
    headers, others = with_key(issue("ada")), with_key(issue("grace"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(guarded.get, "/v1/models", headers=headers)
        assert noting.wait(30)
        try:
            for each in (headers, others):
                assert guarded.get("/v1/models", headers=each).status_code == 200
            assert not first.done()
        finally:
            noted.set()
        assert first.result().status_code == 200


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    guarded: TestClient, issue: IssueKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, headers = with_key(issue("root")), with_key(issue("ada"))
    listed = guarded.get("/v1/keys", headers=admin).json()["data"]
    (key_id,) = [each["id"] for each in listed if each["owner"] == "ada"]
    found, revoked = threading.Event(), threading.Event()
    look_up = Gate._looked_up

    def slowly(gate: Gate, text: str) -> Key | None:
        key = look_up(gate, text)
        if key and key.id == key_id:
            found.set()
            assert revoked.wait(30)
        return key

    monkeypatch.setattr(Gate, "_looked_up", slowly)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(guarded.get, "/v1/session", headers=headers)
        assert found.wait(30)
        try:
            assert guarded.delete(f"/v1/keys/{key_id}", headers=admin).status_code == 204
        finally:
            revoked.set()
        assert late.result().status_code == 200  # it was good when it was looked up
    assert guarded.get("/v1/session", headers=headers).status_code == 401


def test_figures_for_prometheus(guarded: TestClient, issue: IssueKey, sessions: Sessions) -> None:
    queued(sessions)
    headers = with_key(issue("monitoring", Scope.READ))
    assert guarded.get("/v1/jobs/job_0", headers=headers).status_code == 404
    assert guarded.get("/nowhere").status_code == 404
    assert guarded.request("MADEUP", "/healthz").status_code == 405
    answer = guarded.get("/metrics", headers=headers)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'stepsize_jobs{state="queued"} 1.0' in answer.text
    assert 'stepsize_workers{device="cpu",state="idle"} 0.0' in answer.text
    counted = 'stepsize_request_seconds_count{method="GET",route="/v1/jobs/{job_id}",status="4xx"}'
    assert f"{counted} 1.0" in answer.text
    assert "job_0" not in answer.text
    assert "nowhere" not in answer.text
    assert "MADEUP" not in answer.text
