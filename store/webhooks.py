"""Webhooks as rows: where to send what, and the secrets that it is signed with."""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, func, insert, select, update
from uuid6 import uuid7

from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import webhooks

START = "whsec_"
"""So that people, libraries and scanners of repositories know a secret when they see one."""

ALONG = timedelta(hours=24)
"""For so long a secret signs along after another has taken its place."""

MOST = 100
"""Webhooks that one owner may have."""


class WebhookNotFoundError(Exception):
    """There is no such webhook."""


class TooManyWebhooksError(Exception):
    """The owner has as many webhooks as there may be."""

    def __init__(self) -> None:
        super().__init__(f"there are {MOST} webhooks, which is as many as may be: delete one first")


@dataclass(frozen=True)
class Webhook:
    """One row of `webhooks`.

    Attributes:
        events: types of messages that it gets; none: all.
        tags: that a job, or the template of a sweep, must have.
        sweep: of which and whose jobs alone it is told.
        disabled_why: why the service has disabled it.
        failing_since: since when nothing has arrived there.
    """

    id: str
    owner: str
    url: str
    secret: str = field(repr=False)
    former_until: datetime | None
    events: list[str]
    tags: dict[str, str]
    sweep: str | None
    enabled: bool
    disabled_why: str | None
    failing_since: datetime | None
    version: int
    created_at: datetime


COLUMNS = tuple(webhooks.c[name] for name in Webhook.__annotations__)


def add(
    tx: WriteTx,
    *,
    owner: str,
    url: str,
    events: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    sweep: str | None = None,
    enabled: bool = True,
) -> Webhook:
    """A new webhook, with a secret of its own.

    Raises:
        TooManyWebhooksError: the owner has enough of them.
    """
    mine = select(func.count()).select_from(webhooks).where(webhooks.c.owner == owner)
    if tx.execute(mine).scalar_one() >= MOST:
        raise TooManyWebhooksError
    row = tx.execute(
        insert(webhooks)
        .values(
            id=f"whk_{uuid7().hex}",
            owner=owner,
            url=url,
            secret=_secret(),
            events=list(events),
            tags=dict(tags or {}),
            sweep=sweep,
            enabled=enabled,
            created_at=now(),
        )
        .returning(*COLUMNS)
    ).one()
    return _from_row(row)


def find(tx: ReadTx, *, owner: str) -> list[Webhook]:
    """Every webhook of an owner, the newest first."""
    query = select(*COLUMNS).where(webhooks.c.owner == owner).order_by(webhooks.c.id.desc())
    return [_from_row(row) for row in tx.execute(query)]


def get(tx: ReadTx, webhook_id: str, *, owner: str) -> Webhook:
    """The webhook of that id, if it is the owner's.

    Raises:
        WebhookNotFoundError: there is none.
    """
    mine = (webhooks.c.id == webhook_id) & (webhooks.c.owner == owner)
    return _one(tx.execute(select(*COLUMNS).where(mine)).one_or_none(), webhook_id)


def change(tx: WriteTx, webhook_id: str, *, owner: str, **values: object) -> Webhook:
    """Gives columns other values; one that is enabled again starts with a clean slate.

    Raises:
        WebhookNotFoundError: there is none.
    """
    if "enabled" in values:
        values |= {"disabled_why": None, "failing_since": None}
    return _changed(tx, webhook_id, owner, values)


def rotate(tx: WriteTx, webhook_id: str, *, owner: str) -> Webhook:
    """Gives it another secret; the one before signs along for a day.

    Raises:
        WebhookNotFoundError: there is none.
    """
    former = {"former_secret": webhooks.c.secret, "former_until": from_now(ALONG)}
    return _changed(tx, webhook_id, owner, {"secret": _secret(), **former})


def remove(tx: WriteTx, webhook_id: str, *, owner: str) -> None:
    """Deletes a webhook with its messages, those that are to be delivered included.

    Raises:
        WebhookNotFoundError: there is none.
    """
    mine = (webhooks.c.id == webhook_id) & (webhooks.c.owner == owner)
    if tx.execute(delete(webhooks).where(mine)).rowcount == 0:
        raise WebhookNotFoundError(webhook_id)


def lock(tx: WriteTx, webhook_id: str) -> None:
    """Keeps a webhook from being changed or deleted until this transaction ends.

    Before its messages are written to, as deleting it does: else each could wait for the other.
    """
    query = select(webhooks.c.id).where(webhooks.c.id == webhook_id)
    tx.execute(query.with_for_update(key_share=True))


def failing(tx: WriteTx, webhook_id: str) -> None:
    """Remembers that a message has not arrived."""
    healthy = (webhooks.c.id == webhook_id) & webhooks.c.failing_since.is_(None)
    tx.execute(_seen(healthy, failing_since=now()))


def arrived(tx: WriteTx, webhook_id: str) -> None:
    """Remembers that a message has arrived."""
    was_failing = (webhooks.c.id == webhook_id) & webhooks.c.failing_since.is_not(None)
    tx.execute(_seen(was_failing, failing_since=None))


def disable(
    tx: WriteTx, webhook_id: str, why: str, *, failing_for: timedelta | None = None
) -> bool:
    """Sends it nothing more, with `failing_for` only where nothing arrived for so long.

    Returns:
        Whether that has changed something.
    """
    these = (webhooks.c.id == webhook_id) & webhooks.c.enabled
    if failing_for is not None:
        these &= webhooks.c.failing_since < from_now(-failing_for)
    return tx.execute(_seen(these, enabled=False, disabled_why=why)).rowcount == 1


def former_secret() -> Any:
    """The column of the secret that signs along, as long as it does."""
    return case((webhooks.c.former_until > now(), webhooks.c.former_secret), else_=None)


def _seen(these: Any, **values: object) -> Any:
    return update(webhooks).where(these).values(version=webhooks.c.version + 1, **values)


def _changed(tx: WriteTx, webhook_id: str, owner: str, values: Mapping[str, object]) -> Webhook:
    mine = (webhooks.c.id == webhook_id) & (webhooks.c.owner == owner)
    return _one(tx.execute(_seen(mine, **values).returning(*COLUMNS)).one_or_none(), webhook_id)


def _one(row: Row[Any] | None, webhook_id: str) -> Webhook:
    if row is None:
        raise WebhookNotFoundError(webhook_id)
    return _from_row(row)


def _from_row(row: Row[Any]) -> Webhook:
    return Webhook(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _secret() -> str:
    return START + b64encode(secrets.token_bytes(32)).decode()
