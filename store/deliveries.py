"""Messages on their way: who sends which, what came of it, and the log that remains.

A message is sent at least once. Whoever takes one has it for a while; what a process that was
killed had taken is then sent by another, with the same id.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, select, update

from spec.webhooks import PING, DeliveryState, delay_after
from store import webhooks
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.outbox import Message, put
from store.tables import deliveries
from store.tables import webhooks as hooks
from store.webhooks import Webhook

LEASE = timedelta(minutes=2)
"""After which a message that was taken and of which nothing was heard is sent by another."""

KEPT = timedelta(days=30)

PATIENCE = timedelta(days=5)
"""After so long without anything that arrived, a webhook is disabled."""

GONE = "it answered 410 Gone"
SILENT = f"nothing has arrived there for {PATIENCE.days} days"


class DeliveryNotFoundError(Exception):
    """There is no such message of that webhook."""


class DisabledError(Exception):
    """Nothing is sent to a webhook that is disabled."""

    def __init__(self) -> None:
        super().__init__("this webhook is disabled: enable it first")


@dataclass(frozen=True)
class Delivery:
    """One row of `deliveries`.

    Attributes:
        next_at: when it is sent next, or, while it is being sent, when that counts as lost.
        status, error, seconds: of the last try.
    """

    id: str
    webhook_id: str
    type: str
    subject: str
    body: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    status: int | None
    error: str | None
    seconds: float | None
    created_at: datetime
    delivered_at: datetime | None


COLUMNS = tuple(deliveries.c[name] for name in Delivery.__annotations__)


@dataclass(frozen=True)
class Due:
    """A message that was taken to be sent now; `attempts` and `tries` prove it.

    Attributes:
        tries: how often it has been sent, this time included, since somebody asked for it.
        secrets: to sign it with.
    """

    id: str
    webhook_id: str
    url: str
    body: str
    attempts: int
    tries: int
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What came of a try; `status` is None where there was no answer, `error` where all is well."""

    status: int | None
    error: str | None
    seconds: float
    gone: bool = False


_PENDING = deliveries.c.state == DeliveryState.PENDING
_READY = _PENDING & (deliveries.c.next_at <= now())


def waiting(
    tx: ReadTx, *, but: Collection[str] = (), owners: Collection[str] = ()
) -> tuple[str, str] | None:
    """The webhook, with its owner, that has waited longest for a message that is due.

    Except some, and those of some owners.
    """
    query = (
        select(deliveries.c.webhook_id, hooks.c.owner)
        .join(hooks, hooks.c.id == deliveries.c.webhook_id)
        .where(_READY, hooks.c.enabled, hooks.c.id.not_in(but), hooks.c.owner.not_in(owners))
        .order_by(deliveries.c.next_at)
        .limit(1)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else (row.webhook_id, row.owner)


def on_their_way(tx: ReadTx) -> dict[str, int]:
    """Messages to enabled webhooks: those that are due, and those that are sent or tried later."""
    due = case((deliveries.c.next_at <= now(), "due"), else_="later")
    query = (
        select(due, func.count())
        .join_from(deliveries, hooks, hooks.c.id == deliveries.c.webhook_id)
        .where(_PENDING, hooks.c.enabled)
        .group_by(due)
    )
    return {"due": 0, "later": 0} | dict(tx.execute(query).all())


def take(tx: WriteTx, webhook_id: str, *, limit: int) -> list[Due]:
    """Takes messages to a webhook that are due, so that nobody else sends them now."""
    former = webhooks.former_secret()
    query = select(hooks.c.url, hooks.c.secret, former).where(
        hooks.c.id == webhook_id, hooks.c.enabled
    )
    if (hook := tx.execute(query).one_or_none()) is None:
        return []
    url, *secrets = hook
    some = (
        select(deliveries.c.id)
        .where(deliveries.c.webhook_id == webhook_id, _READY)
        .order_by(deliveries.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("some")
    )
    rows = tx.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(some.c.id)), _READY)
        .values(attempts=deliveries.c.attempts + 1, next_at=from_now(LEASE))
        .returning(*(deliveries.c[name] for name in ("id", "body", "attempts", "attempts_before")))
    ).all()
    return [
        Due(
            id=row.id,
            webhook_id=webhook_id,
            url=url,
            body=row.body,
            attempts=row.attempts,
            tries=row.attempts - row.attempts_before,
            secrets=tuple(each for each in secrets if each),
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def settle(tx: WriteTx, due: Due, outcome: Outcome, *, chance: float) -> bool:
    """Writes down what came of a try, and when the next one is; `chance` is for `delay_after`.

    Returns:
        Whether it was still this process's to say.
    """
    delay = None if outcome.gone else delay_after(due.tries, chance)
    values: dict[str, object] = {
        "status": outcome.status,
        "error": outcome.error,
        "seconds": outcome.seconds,
        "next_at": None,
    }
    if outcome.error is None:
        values |= {"state": DeliveryState.DELIVERED, "delivered_at": now()}
    elif delay is None:
        values |= {"state": DeliveryState.FAILED}
    else:
        values |= {"next_at": from_now(delay)}
    webhooks.lock(tx, due.webhook_id)
    mine = (
        (deliveries.c.id == due.id)
        & (deliveries.c.attempts == due.attempts)
        & (deliveries.c.attempts_before == due.attempts - due.tries)
        & _PENDING
    )
    if tx.execute(update(deliveries).where(mine).values(**values)).rowcount == 0:
        return False
    if outcome.error is None:
        webhooks.arrived(tx, due.webhook_id)
        return True
    webhooks.failing(tx, due.webhook_id)
    if outcome.gone:
        webhooks.disable(tx, due.webhook_id, GONE)
    elif delay is None:
        webhooks.disable(tx, due.webhook_id, SILENT, failing_for=PATIENCE)
    return True


def ping(tx: WriteTx, webhook: Webhook) -> Delivery:
    """A message that says nothing, to be sent before all others.

    Raises:
        DisabledError: nothing is sent there.
    """
    if not webhook.enabled:
        raise DisabledError
    at = tx.execute(select(now())).scalar_one()
    data = {"webhook": {"id": webhook.id}}
    (message_id,) = put(tx, [Message(webhook.id, PING, webhook.id, at, data)])
    return _again(tx, deliveries.c.id == message_id, message_id)


def retry(tx: WriteTx, webhook: Webhook, delivery_id: str) -> Delivery:
    """Sends a message now, whatever became of it, and tries for as long as with a new one.

    Raises:
        DeliveryNotFoundError: there is none.
        DisabledError: nothing is sent there.
    """
    if not webhook.enabled:
        raise DisabledError
    these = (deliveries.c.id == delivery_id) & (deliveries.c.webhook_id == webhook.id)
    return _again(tx, these, delivery_id)


def get(tx: ReadTx, webhook: Webhook, delivery_id: str) -> Delivery:
    """One message to a webhook.

    Raises:
        DeliveryNotFoundError: there is none.
    """
    these = (deliveries.c.id == delivery_id) & (deliveries.c.webhook_id == webhook.id)
    return _one(tx.execute(select(*COLUMNS).where(these)).one_or_none(), delivery_id)


def find(
    tx: ReadTx, webhook: Webhook, *, state: DeliveryState | None, before: str | None, limit: int
) -> list[Delivery]:
    """Messages to a webhook, the newest first; those older than the id `before` only."""
    query = select(*COLUMNS).where(deliveries.c.webhook_id == webhook.id)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if before is not None:
        query = query.where(deliveries.c.id < before)
    rows = tx.execute(query.order_by(deliveries.c.id.desc()).limit(limit))
    return [_from_row(row) for row in rows]


def forget(tx: WriteTx, *, limit: int) -> int:
    """Deletes messages that are too old, at most so many; how many there were."""
    old = select(deliveries.c.id).where(deliveries.c.created_at < from_now(-KEPT)).limit(limit)
    return tx.execute(delete(deliveries).where(deliveries.c.id.in_(old))).rowcount


def _again(tx: WriteTx, these: ColumnElement[bool], delivery_id: str) -> Delivery:
    row = tx.execute(
        update(deliveries)
        .where(these)
        .values(
            state=DeliveryState.PENDING,
            attempts_before=deliveries.c.attempts,
            # somebody waits for it: it goes before what has been waiting
            next_at=from_now(-KEPT),
            delivered_at=None,
        )
        .returning(*COLUMNS)
    ).one_or_none()
    return _one(row, delivery_id)


def _one(row: Any, delivery_id: str) -> Delivery:
    if row is None:
        raise DeliveryNotFoundError(delivery_id)
    return _from_row(row)


def _from_row(row: Any) -> Delivery:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Delivery(**{**values, "state": DeliveryState(row.state)})
