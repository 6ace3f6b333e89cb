"""Webhooks over HTTP: made, changed, tested, and told of jobs by the threads that deliver."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook

from api import deliverer as deliverers
from api.app import create_app
from api.deliverer import EACH, OWNED, Deliverer
from api.posting import Poster
from api.reconciler import Reconciler
from spec.settings import Settings
from store import deliveries, webhooks
from store.database import Sessions
from store.deliveries import Due, Outcome
from store.instants import from_now
from store.tables import deliveries as table
from store.tables import webhooks as webhooks_table
from tests.api.conftest import NotedBroker
from tests.api.listening import eventually
from tests.api.receiver import Receiver, receiving
from tests.factories import queued, training_json

LOCAL = (ip_network("127.0.0.1/32"),)
Made = dict[str, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhooks_private": LOCAL})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as each:
        yield each


@pytest.fixture
def webhook(client: TestClient, receiver: Receiver) -> Made:
    answer = client.post("/v1/webhooks", json={"url": receiver.url})
    assert answer.status_code == 201, answer.text
    made: Made = answer.json()
    return made


@pytest.fixture
def delivering(sessions: Sessions) -> Iterator[Callable[..., Deliverer]]:
    """Starts threads that deliver, each as of a process of its own."""
    started: list[Deliverer] = []

    def start(poster: Poster | None = None) -> Deliverer:
        each = Deliverer(sessions, LOCAL, poster=poster)
        each.start()
        started.append(each)
        return each

    yield start
    for each in started:
        each.stop()


def log(client: TestClient, webhook: Made, query: str = "") -> list[Made]:
    found: list[Made] = client.get(f"{place(webhook)}/deliveries{query}").json()["data"]
    return found


def place(webhook: Made) -> str:
    return f"/v1/webhooks/{webhook['id']}"


def cancelled(client: TestClient, **fields: Any) -> str:
    job_id: str = client.post("/v1/jobs", json=training_json(**fields)).json()["id"]
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    return job_id


def due_now(sessions: Sessions) -> None:
    """As if every message that waits had waited long enough."""
    with sessions.begin() as tx:
        tx.execute(
            update(table).where(table.c.state == "pending").values(next_at=from_now(timedelta()))
        )


def test_a_webhook_is_made_with_a_secret_that_is_told_once(
    client: TestClient, receiver: Receiver
) -> None:
    body = {
        "url": receiver.url,
        "events": ["job.failed", "sweep.succeeded"],
        "tags": {"team": "a"},
    }
    answer = client.post("/v1/webhooks", json=body)
    made = answer.json()
    assert answer.headers["Location"] == place(made)
    assert made.items() >= body.items()
    assert (made["enabled"], made["sweep"], made["failing_since"]) == (True, None, None)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert client.get(place(made)).json() == made
    assert client.get("/v1/webhooks").json() == {"data": [made]}
    assert client.delete(place(made)).status_code == 204
    assert client.get(place(made)).status_code == 404


def test_one_that_is_asked_for_again_is_made_once(client: TestClient, receiver: Receiver) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = (
        client.post("/v1/webhooks", json={"url": receiver.url}, headers=key) for _ in range(2)
    )
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json() == again.json()
    assert len(client.get("/v1/webhooks").json()["data"]) == 1
    webhook = first.json()
    for path in ("rotate", "test"):
        key = {"Idempotency-Key": path}
        answers = [client.post(f"{place(webhook)}/{path}", headers=key) for _ in range(2)]
        assert [each.status_code for each in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
    assert len(log(client, webhook)) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"url": None}, "/url"),
        ({"url": "ftp://hooks.example/"}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "http://localhost.localhost/x#y"}, "/url"),
        ({"url": "http://127.0.0.2/"}, "/url"),
        ({"events": ["job.exploded"]}, "/events/0"),
        ({"events": ["job.failed", "job.failed"]}, "/events"),
        ({"events": ["ping"]}, "/events/0"),
        ({"tags": {"": "x"}}, "/tags"),
        ({"sweep": "swp_0"}, "/sweep"),
        ({"sweep": "job_0"}, "/sweep"),
        ({"secret": "whsec_AAAA"}, "/secret"),
    ],
)
def test_what_is_no_webhook(
    client: TestClient, webhook: Made, changes: dict[str, Any], pointer: str
) -> None:
    body = {"url": "https://hooks.example/", **changes}
    refused = client.post("/v1/webhooks", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith(pointer)
    if changes != {"url": None}:  # of a change, a field that need not be there
        assert client.patch(place(webhook), json=changes).status_code == 422
    assert len(client.get("/v1/webhooks").json()["data"]) == 1


def test_what_is_named_is_changed(client: TestClient, webhook: Made) -> None:
    spec = {"template": training_json(), "space": {"/seed": [0, 1]}}
    sweep = client.post("/v1/sweeps", json=spec).json()["id"]
    changes: list[Made] = [
        {"events": ["job.failed"]},
        {"tags": {"a": "b"}},
        {"sweep": sweep},
        {"enabled": False},
        {"url": "https://hooks.example/"},
        {"sweep": None, "tags": {}, "events": [], "enabled": True},
        {},
    ]
    expected = {name: value for name, value in webhook.items() if name != "secret"}
    for change in changes:
        expected |= change
        assert client.patch(place(webhook), json=change).json() == expected
        assert client.get(place(webhook)).json() == expected
    assert client.patch(place(webhook), json={"url": None}).json() == expected


def test_a_job_is_told_of_and_the_log_says_so(
    client: TestClient, webhook: Made, receiver: Receiver, delivering: Callable[..., Deliverer]
) -> None:
    delivering()
    job_id = cancelled(client, tags={"project": "demo"})
    eventually(lambda: log(client, webhook, "?state=delivered"))
    (came,) = receiver.came
    body = Webhook(webhook["secret"]).verify(came.body, came.headers)
    assert (body["type"], body["data"]["job"]["id"]) == ("job.cancelled", job_id)
    (message,) = log(client, webhook)
    assert came.headers["webhook-id"] == message["id"]
    assert (message["type"], message["subject"]) == ("job.cancelled", job_id)
    assert (message["state"], message["status"], message["attempts"]) == ("delivered", 204, 1)
    assert message["error"] is message["next_at"] is None
    assert message["body"] == json.loads(came.body)
    assert 0 < message["seconds"] < 10
    assert client.get(f"{place(webhook)}/deliveries/{message['id']}").json() == message
    assert client.get(f"{place(webhook)}/deliveries/msg_0").status_code == 404


def test_the_log_comes_in_pages(client: TestClient, webhook: Made) -> None:
    jobs = [cancelled(client) for _ in range(5)]
    subjects: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get(f"{place(webhook)}/deliveries?limit=2{cursor and f'&cursor={cursor}'}")
        subjects += [each["subject"] for each in page.json()["data"]]
        cursor = page.json()["next_cursor"]
    assert subjects == jobs[::-1]
    assert log(client, webhook, "?state=failed") == []


def test_the_button_sends_at_once(
    client: TestClient,
    webhook: Made,
    receiver: Receiver,
    delivering: Callable[..., Deliverer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliverers, "EVERY", 3600)
    client.app.state.deliverer = delivering()  # type: ignore[attr-defined] # it is the application
    answer = client.post(f"{place(webhook)}/test")
    message = answer.json()
    assert (answer.status_code, message["state"], message["type"]) == (201, "pending", "ping")
    assert message["next_at"] >= message["created_at"]
    location = answer.headers["Location"]
    eventually(lambda: client.get(location).json()["state"] == "delivered")
    assert receiver.ids == [message["id"]]
    assert client.post(f"{location}/retry").json()["state"] == "pending"
    eventually(lambda: client.get(location).json()["state"] == "delivered")
    assert receiver.ids == [message["id"]] * 2
    assert client.get(location).json()["attempts"] == 2
    client.patch(place(webhook), json={"enabled": False})
    for path in (f"{place(webhook)}/test", f"{location}/retry"):
        refused = client.post(path)
        assert refused.status_code == 409
        assert "enable it first" in refused.json()["detail"]


def test_a_new_secret_and_the_one_before_both_sign(
    client: TestClient, webhook: Made, receiver: Receiver, delivering: Callable[..., Deliverer]
) -> None:
    delivering()
    rotated = client.post(f"{place(webhook)}/rotate").json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["former_until"] is not None
    cancelled(client)
    eventually(lambda: receiver.came)
    for secret in (webhook["secret"], rotated["secret"]):
        Webhook(secret).verify(receiver.came[0].body, receiver.came[0].headers)


def test_what_does_not_arrive_is_sent_again(
    client: TestClient,
    webhook: Made,
    receiver: Receiver,
    sessions: Sessions,
    delivering: Callable[..., Deliverer],
) -> None:
    receiver.status, receiver.content = 503, b"try later"
    deliverer = delivering()
    cancelled(client)
    eventually(lambda: log(client, webhook)[0]["error"])
    (message,) = log(client, webhook)
    assert (message["state"], message["status"]) == ("pending", 503)
    assert message["error"] == "503 Service Unavailable: try later"
    assert client.get(place(webhook)).json()["failing_since"] is not None
    receiver.status = 204
    due_now(sessions)
    deliverer.wake()
    eventually(lambda: log(client, webhook)[0]["state"] == "delivered")
    assert receiver.ids == [message["id"]] * 2
    assert client.get(place(webhook)).json()["failing_since"] is None


def test_who_has_gone_is_disabled(
    client: TestClient, webhook: Made, receiver: Receiver, delivering: Callable[..., Deliverer]
) -> None:
    receiver.status = 410
    delivering()
    cancelled(client)
    eventually(lambda: not client.get(place(webhook)).json()["enabled"])
    assert client.get(place(webhook)).json()["disabled_why"] == "it answered 410 Gone"
    again = client.patch(place(webhook), json={"enabled": True}).json()
    assert (again["enabled"], again["disabled_why"]) == (True, None)


def test_several_processes_send_each_message_once(
    client: TestClient, webhook: Made, receiver: Receiver, delivering: Callable[..., Deliverer]
) -> None:
    for _ in range(30):
        cancelled(client)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: delivering(), range(3)))
    eventually(lambda: len(log(client, webhook, "?state=delivered")) == 30)
    assert len(receiver.ids) == len(set(receiver.ids)) == 30


class Killed(Poster):
    """Sends, and never comes to write down what came of it: as a process that is killed."""

    def post(self, due: Due) -> Outcome:
        super().post(due)
        raise SystemExit


def test_what_a_killed_process_had_sent_is_sent_again_with_the_same_id(
    client: TestClient,
    webhook: Made,
    receiver: Receiver,
    sessions: Sessions,
    delivering: Callable[..., Deliverer],
) -> None:
    killed = delivering(Killed(LOCAL))
    cancelled(client)
    killed.wake()
    eventually(lambda: receiver.came)
    assert log(client, webhook)[0]["state"] == "pending"
    with sessions.begin() as tx:
        lease = deliveries.LEASE
        assert tx.execute(select(table.c.next_at <= from_now(lease))).scalar_one()
    due_now(sessions)
    delivering()
    eventually(lambda: log(client, webhook)[0]["state"] == "delivered")
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


class Faulty(Poster):
    def post(self, due: Due) -> Outcome:
        raise LookupError(due.id)


def test_a_fault_of_ones_own_is_a_try_too(
    client: TestClient, webhook: Made, delivering: Callable[..., Deliverer]
) -> None:
    delivering(Faulty(LOCAL))
    cancelled(client)
    eventually(lambda: log(client, webhook)[0]["error"])
    assert log(client, webhook)[0]["error"] == "a fault of this server; its log says more"


class Slow(Poster):
    """Takes its time over one place, none over others; counts what is under way."""

    def __init__(self, slow: str) -> None:
        super().__init__(LOCAL)
        self.slow = slow
        self.free = threading.Event()
        self.under_way = self.most = 0

    def post(self, due: Due) -> Outcome:
        if due.url == self.slow:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            assert self.free.wait(30)
            self.under_way -= 1
        return Outcome(204, None, 0.0)


def test_a_slow_webhook_holds_up_no_other(
    client: TestClient, webhook: Made, delivering: Callable[..., Deliverer]
) -> None:
    for _ in range(3 * EACH):
        cancelled(client)
    other = client.post("/v1/webhooks", json={"url": "https://hooks.example/"}).json()
    cancelled(client)
    slow = Slow(webhook["url"])
    delivering(slow)
    try:
        eventually(lambda: log(client, other, "?state=delivered"))
        assert 0 < slow.most <= EACH
    finally:
        slow.free.set()
    eventually(lambda: not log(client, webhook, "?state=pending"))
    assert slow.most <= EACH


def test_an_owner_with_many_slow_webhooks_holds_up_no_other(
    sessions: Sessions, delivering: Callable[..., Deliverer]
) -> None:
    with sessions.begin() as tx:
        for each in [webhooks.add(tx, owner="a", url="https://slow.example/") for _ in range(5)]:
            for _ in range(EACH):
                deliveries.ping(tx, each)
        other = webhooks.add(tx, owner="b", url="https://hooks.example/")
        deliveries.ping(tx, other)

    def arrived() -> bool:
        with sessions.read() as tx:
            (found,) = deliveries.find(tx, other, state=None, before=None, limit=9)
        return found.state == "delivered"

    slow = Slow("https://slow.example/")
    delivering(slow)
    try:
        eventually(arrived)
        assert 0 < slow.most <= OWNED
    finally:
        slow.free.set()


class QuietBroker(NotedBroker):
    def start(self) -> None: ...

    def stop(self) -> None: ...


def test_the_application_delivers_while_it_runs(
    sessions: Sessions, settings: Settings, receiver: Receiver
) -> None:
    app = create_app(sessions, QuietBroker(), settings)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        webhook = client.post("/v1/webhooks", json={"url": receiver.url}).json()
        message = client.post(f"{place(webhook)}/test").json()
        eventually(lambda: receiver.ids == [message["id"]])


def test_the_reconciler_forgets_old_messages(
    client: TestClient, webhook: Made, sessions: Sessions, settings: Settings
) -> None:
    cancelled(client)
    with sessions.begin() as tx:
        tx.execute(update(table).values(created_at=from_now(-deliveries.KEPT)))
    cancelled(client)
    reconciler = Reconciler(sessions, NotedBroker(), settings)
    reconciler._forget()
    assert len(log(client, webhook)) == 1


def test_there_is_an_end_to_webhooks(
    client: TestClient, webhook: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.webhooks.MOST", 2)
    answers = [client.post("/v1/webhooks", json={"url": "https://a.example/"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 409]
    assert "delete one first" in answers[1].json()["detail"]


def test_secrets_are_where_they_are_needed_alone(
    client: TestClient, webhook: Made, sessions: Sessions
) -> None:
    queued(sessions)
    cancelled(client)
    for path in ("", place(webhook).removeprefix("/v1/webhooks"), f"/{webhook['id']}/deliveries"):
        assert webhook["secret"] not in client.get(f"/v1/webhooks{path}").text
    assert webhook["secret"] not in client.get("/v1/audit").text
    with sessions.read() as tx:
        assert tx.execute(select(webhooks_table.c.secret)).scalar_one() == webhook["secret"]
