"""Puts messages for webhooks beside what they tell of: in the same transaction, or not at all."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, insert, select
from uuid6 import uuid7

from spec.webhooks import DeliveryState
from store.database import WriteTx
from store.instants import now
from store.tables import deliveries, webhooks


@dataclass(frozen=True)
class Listeners:
    """The webhooks that may have to be told something, and the time, which is that of messages."""

    webhooks: Sequence[Any]
    at: datetime

    def any_of(self, event: str) -> bool:
        """Whether one of them wants to know of such events at all."""
        return any(not each.events or event in each.events for each in self.webhooks)

    def of(
        self, *, owner: str, event: str, tags: Mapping[str, str], sweep: str | None
    ) -> list[str]:
        """Which of them want to know this."""
        return [
            each.id
            for each in self.webhooks
            if each.owner == owner
            and (not each.events or event in each.events)
            and each.tags.items() <= tags.items()
            and each.sweep in {None, sweep}
        ]


# One look at an index, for a change of however many jobs. The lock keeps a webhook from being
# deleted before its message is there; one that is just being deleted needs none.
_LISTENING = (
    select(
        *(webhooks.c[name] for name in ("id", "owner", "events", "tags", "sweep")),
        now().label("at"),
    )
    .where(webhooks.c.owner.in_(bindparam("owners", expanding=True)), webhooks.c.enabled)
    .order_by(webhooks.c.id)
    .with_for_update(read=True, key_share=True, skip_locked=True)
)
_PUT = insert(deliveries).values(next_at=now(), created_at=now())


def listeners(tx: WriteTx, owners: Collection[str]) -> Listeners | None:
    """Those of these owners; None where there are none, as for most."""
    found = tx.execute(_LISTENING, {"owners": sorted(set(owners))}).all()
    return Listeners(found, found[0].at) if found else None


@dataclass(frozen=True)
class Message:
    """What one webhook is to be told; `data` is of the body."""

    webhook_id: str
    event: str
    subject: str
    at: datetime
    data: Mapping[str, Any]


def put(tx: WriteTx, messages: Iterable[Message]) -> list[str]:
    """Messages to be delivered once this transaction has been committed; their ids."""
    rows = [
        {
            "id": f"msg_{uuid7().hex}",
            "webhook_id": each.webhook_id,
            "type": each.event,
            "subject": each.subject,
            "body": _body(each),
            "state": DeliveryState.PENDING,
        }
        for each in messages
    ]
    if rows:
        tx.execute(_PUT, rows)
    return [row["id"] for row in rows]


def moment(at: datetime | None) -> str | None:
    """RFC 3339, as in every answer."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _body(message: Message) -> str:
    told = {"type": message.event, "timestamp": moment(message.at), "data": message.data}
    return json.dumps(told, separators=(",", ":"))
