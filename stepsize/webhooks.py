"""Webhooks: what a client says about them, and how a message that came is verified."""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from pydantic import Field

from stepsize import transport
from stepsize.answers import Answer
from stepsize.errors import StepsizeError

TOLERANCE = 300
"""Seconds by which clocks may differ; what is older may be a message that somebody has kept."""


class Webhook(Answer):
    """A webhook; `secret` is known only of one that has just been made or rotated."""

    id: str
    url: str
    events: list[str]
    tags: dict[str, str]
    sweep: str | None = None
    enabled: bool
    disabled_why: str | None = None
    failing_since: datetime | None = None
    former_until: datetime | None = None
    created_at: datetime
    secret: Annotated[str | None, Field(repr=False)] = None


class Delivery(Answer):
    """A message to a webhook: `pending`, `delivered` or `failed`, and what came of the last try."""

    id: str
    webhook: str
    type: str
    subject: str
    state: str
    attempts: int
    next_at: datetime | None = None
    status: int | None = None
    error: str | None = None
    seconds: float | None = None
    created_at: datetime
    delivered_at: datetime | None = None
    body: dict[str, Any]


class _WebhookList(Answer):
    data: list[Webhook]


class _DeliveryList(Answer):
    data: list[Delivery]


class Webhooks:
    """The webhooks of a server that are the caller's own."""

    def __init__(self, send: Callable[..., httpx.Response]) -> None:
        self._send = send

    def add(
        self,
        url: str,
        *,
        events: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        sweep: str | None = None,
    ) -> Webhook:
        """Makes a webhook that is told of these events, by default all, of what has these tags."""
        body = {"url": url, "events": list(events), "tags": dict(tags or {}), "sweep": sweep}
        answer = self._send("POST", "/v1/webhooks", body=body, headers=transport.once(None))
        return transport.parse(Webhook, answer)

    def get(self, webhook: Webhook | str) -> Webhook:
        """The webhook as it is now."""
        return transport.parse(Webhook, self._send("GET", _path(webhook)))

    def change(self, webhook: Webhook | str, **changes: Any) -> Webhook:
        """Gives fields other values: `url`, `events`, `tags`, `sweep`, `enabled`."""
        return transport.parse(Webhook, self._send("PATCH", _path(webhook), body=changes))

    def remove(self, webhook: Webhook | str) -> None:
        """Deletes a webhook, with the messages that are still to be sent there."""
        self._send("DELETE", _path(webhook))

    def rotate(self, webhook: Webhook | str) -> Webhook:
        """Gives it another secret; the one before signs along for a day."""
        path = f"{_path(webhook)}/rotate"
        return transport.parse(Webhook, self._send("POST", path, headers=transport.once(None)))

    def test(self, webhook: Webhook | str, *, timeout: float = 20.0) -> Delivery:
        """Sends a message of type `ping`; what has come of it, `timeout` seconds later at most."""
        path = f"{_path(webhook)}/test"
        sent = transport.parse(Delivery, self._send("POST", path, headers=transport.once(None)))
        until = time.monotonic() + timeout
        while sent.state == "pending" and sent.error is None and time.monotonic() < until:
            time.sleep(0.1)
            sent = self.delivery(webhook, sent.id)
        return sent

    def deliveries(
        self, webhook: Webhook | str, *, state: str | None = None, limit: int = 50
    ) -> list[Delivery]:
        """The newest messages of the last 30 days, at most 500."""
        params = {"state": state, "limit": limit}
        answer = self._send("GET", f"{_path(webhook)}/deliveries", params=params)
        return transport.parse(_DeliveryList, answer).data

    def delivery(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """A message as it is now."""
        return transport.parse(Delivery, self._send("GET", _of(webhook, delivery)))

    def retry(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """Sends a message again, at once."""
        return transport.parse(Delivery, self._send("POST", f"{_of(webhook, delivery)}/retry"))

    def list(self) -> list[Webhook]:
        """Every webhook, the newest first."""
        return transport.parse(_WebhookList, self._send("GET", "/v1/webhooks")).data


def verify(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance: float = TOLERANCE
) -> str:
    """Says whether a message came from who has the secret, and not long ago; its id.

    The id is the same where a message comes again: whoever has seen it need do nothing.

    Raises:
        StepsizeError: it did not.
    """
    given = {name.lower(): value for name, value in headers.items()}
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    if missing := [name for name in names if not given.get(name)]:
        raise StepsizeError(f"there is no header {', '.join(missing)}")
    message_id, timestamp, signatures = (given[name] for name in names)
    if not timestamp.isdecimal():
        raise StepsizeError(f"webhook-timestamp is no number of seconds: {timestamp!r}")
    expected = signature(secret, message_id, timestamp, body)
    if not any(hmac.compare_digest(each, expected) for each in signatures.split(" ")):
        raise StepsizeError("no signature is right: another secret, or another body, to the byte")
    age = time.time() - int(timestamp)
    if abs(age) > tolerance:
        raise StepsizeError(f"the signature is right, but {age:.0f} s old: somebody may replay it")
    return message_id


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """What Standard Webhooks wants: `v1,` and HMAC-SHA256 of `id.timestamp.body`, in base64."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise StepsizeError("the secret is none: it begins with whsec_, base64 follows") from error
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.digest(key, signed, sha256)).decode()}"


def _path(webhook: Webhook | str) -> str:
    webhook_id = webhook if isinstance(webhook, str) else webhook.id
    return f"/v1/webhooks/{quote(webhook_id, safe='')}"


def _of(webhook: Webhook | str, delivery: Delivery | str) -> str:
    delivery_id = delivery if isinstance(delivery, str) else delivery.id
    return f"{_path(webhook)}/deliveries/{quote(delivery_id, safe='')}"
