"""The commands about webhooks, and what the client says and verifies."""

import json
import time

import pytest
from standardwebhooks.webhooks import Webhook as Standard

from stepsize import Client, StepsizeError
from stepsize.webhooks import signature, verify
from tests.unit.conftest import Fake, Run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = {
    "id": "whk_1",
    "url": "https://hooks.example/",
    "events": ["job.failed"],
    "tags": {"team": "a"},
    "sweep": None,
    "enabled": True,
    "disabled_why": None,
    "failing_since": None,
    "former_until": None,
    "created_at": "2026-01-31T12:00:00Z",
}
DELIVERY = {
    "id": "msg_1",
    "webhook": "whk_1",
    "type": "ping",
    "subject": "whk_1",
    "state": "pending",
    "attempts": 0,
    "next_at": "2026-01-31T12:00:00Z",
    "status": None,
    "error": None,
    "seconds": None,
    "created_at": "2026-01-31T12:00:00Z",
    "delivered_at": None,
    "body": {"type": "ping"},
}
ARRIVED = DELIVERY | {"state": "delivered", "status": 204, "seconds": 0.125, "attempts": 1}
PLACE = "/v1/webhooks/whk_1"


def test_a_webhook_is_made_and_its_secret_printed_alone(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/webhooks"] = (201, {**WEBHOOK, "secret": SECRET})
    options = ("--event", "job.failed", "--tag", "team:a:b", "--sweep", "swp_1")
    done = run("webhooks", "add", "https://hooks.example/", *options)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{SECRET}\n"
    assert "whk_1: job.failed team:a to https://hooks.example/" in done.stderr
    ((_, _, _, body),) = fake.asked
    assert body == {
        "url": "https://hooks.example/",
        "events": ["job.failed"],
        "tags": {"team": "a:b"},
        "sweep": "swp_1",
    }
    assert run("webhooks", "add", "https://a.example/", "--tag", "team").exit_code == 1
    shown = run("webhooks", "add", "https://hooks.example/", "--json")
    assert json.loads(shown.stdout)["secret"] == SECRET


def test_webhooks_are_listed_changed_and_deleted(fake: Fake, run: Run) -> None:
    gone = {"enabled": False, "disabled_why": "it answered 410 Gone", "events": [], "tags": {}}
    failing = {"failing_since": "2026-02-01T12:00:00Z"}
    fake.answers["GET /v1/webhooks"] = (200, {"data": [WEBHOOK, WEBHOOK | gone, WEBHOOK | failing]})
    listed = " ".join(run("webhooks", "list").stdout.split())
    assert "whk_1 https://hooks.example/ job.failed team:a enabled" in listed
    assert "everything disabled: it answered 410 Gone" in listed
    assert "failing since 2026-02-01 12:00" in listed
    assert len(json.loads(run("webhooks", "list", "--json").stdout)) == 3
    fake.answers[f"PATCH {PLACE}"] = (200, WEBHOOK)
    assert run("webhooks", "enable", "whk_1").stdout == "whk_1 is enabled\n"
    run("webhooks", "enable", "whk_1", "--undo")
    assert [body for verb, _, _, body in fake.asked if verb == "PATCH"] == [
        {"enabled": True},
        {"enabled": False},
    ]
    fake.answers[f"DELETE {PLACE}"] = (204, b"")
    assert run("webhooks", "rm", "whk_1").stdout == "whk_1 is deleted\n"
    fake.answers[f"POST {PLACE}/rotate"] = (201, {**WEBHOOK, "secret": SECRET})
    assert run("webhooks", "rotate", "whk_1").stdout == f"{SECRET}\n"
    fake.answers["GET /v1/webhooks"] = (200, {"data": []})
    assert "stepsize webhooks add" in run("webhooks", "list").stderr


def test_a_test_waits_until_something_has_come_of_it(fake: Fake, run: Run) -> None:
    fake.answers[f"POST {PLACE}/test"] = (201, DELIVERY)
    fake.answers[f"GET {PLACE}/deliveries/msg_1"] = [(200, DELIVERY), (200, ARRIVED)]
    done = run("webhooks", "test", "whk_1")
    assert (done.exit_code, done.stdout) == (0, "msg_1 has arrived: 204 after 0.12 s\n")
    wrong = DELIVERY | {"error": "500 Internal Server Error", "status": 500}
    fake.answers[f"GET {PLACE}/deliveries/msg_1"] = (200, wrong)
    done = run("webhooks", "test", "whk_1")
    assert (done.exit_code, done.stdout) == (
        1,
        "msg_1 has not arrived: 500 Internal Server Error\n",
    )
    fake.answers[f"GET {PLACE}/deliveries/msg_1"] = (200, DELIVERY)
    with Client() as client:
        assert client.webhooks.test("whk_1", timeout=0.0).state == "pending"


def test_the_log_and_what_is_sent_again(fake: Fake, run: Run) -> None:
    fake.answers[f"GET {PLACE}/deliveries"] = (200, {"data": [ARRIVED]})
    listed = " ".join(run("webhooks", "deliveries", "whk_1", "--state", "delivered").stdout.split())
    assert "msg_1 ping whk_1 2026-01-31 12:00:00 1 delivered" in listed
    assert fake.asked[-1][2] == {"state": ["delivered"], "limit": ["20"]}
    fake.answers[f"POST {PLACE}/deliveries/msg_1/retry"] = (200, DELIVERY | {"error": "no"})
    again = run("webhooks", "deliveries", "whk_1", "--retry", "msg_1")
    assert "pending: no" in again.stdout
    assert json.loads(run("webhooks", "deliveries", "whk_1", "--json").stdout)[0]["id"] == "msg_1"


def test_the_client_knows_a_webhook_by_itself_too(fake: Fake) -> None:
    fake.answers[f"GET {PLACE}"] = (200, WEBHOOK)
    with Client() as client:
        webhook = client.webhooks.get("whk_1")
        assert client.webhooks.get(webhook) == webhook
    assert SECRET not in repr(webhook.model_copy(update={"secret": SECRET}))


def signed(body: bytes, age: float = 0.0) -> dict[str, str]:
    timestamp = str(int(time.time() - age))
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": f"v1,AAAA {signature(SECRET, 'msg_1', timestamp, body)}",
    }


def test_what_is_verified_is_what_the_standard_verifies() -> None:
    body = b'{"type":"ping"}'
    headers = signed(body)
    assert verify(body, headers, SECRET) == "msg_1"
    lower = {name.lower(): value for name, value in headers.items()}
    assert Standard(SECRET).verify(body, lower) == {"type": "ping"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Webhook-Id": ""}, "no header webhook-id"),
        ({"Webhook-Id": "msg_2"}, "no signature is right"),
        ({"Webhook-Signature": "v1,AAAA"}, "no signature is right"),
        ({"Webhook-Timestamp": "soon"}, "no number of seconds"),
        ({"Webhook-Timestamp": "0"}, "no signature is right"),
    ],
)
def test_what_is_not_verified(changes: dict[str, str], told: str) -> None:
    with pytest.raises(StepsizeError, match=told):
        verify(b"{}", signed(b"{}") | changes, SECRET)


def test_nor_what_is_old_or_of_another_body_or_secret() -> None:
    for age in (301, -310):
        with pytest.raises(StepsizeError, match="replay"):
            verify(b"{}", signed(b"{}", age), SECRET)
    with pytest.raises(StepsizeError, match="no signature is right"):
        verify(b"{} ", signed(b"{}"), SECRET)
    with pytest.raises(StepsizeError, match="no signature is right"):
        verify(b"{}", signed(b"{}"), "whsec_AAAA")
    with pytest.raises(StepsizeError, match="the secret is none"):
        verify(b"{}", signed(b"{}"), "whsec_?")


def test_the_command_verifies_and_teaches(run: Run) -> None:
    headers = signed(b'{"a": 1}', age=9999)
    options = [
        *("--secret", SECRET, "--id", "msg_1", "--timestamp", headers["Webhook-Timestamp"]),
        *("--signature", headers["Webhook-Signature"]),
    ]
    done = run("webhooks", "verify", *options, "--any-age", stdin='{"a": 1}')
    assert (done.exit_code, done.stdout) == (0, "verified\n")
    assert f"msg_1.{headers['Webhook-Timestamp']}.<the 8 bytes of the body>" in done.stderr
    assert "replay" in run("webhooks", "verify", *options, stdin='{"a": 1}').stderr
    wrong = run("webhooks", "verify", *options, stdin='{"a":1}')
    assert wrong.exit_code == 1
    assert "no signature is right" in wrong.stderr
