"""API keys: whose they are and what they are good for; their secrets are not kept."""

import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, exists, insert, or_, select, update
from uuid6 import uuid7

from spec.access import Scope
from store.database import ReadTx, WriteTx
from store.instants import from_now, now
from store.tables import keys

START = "ss_"
"""So that people, and scanners of repositories, know a key when they see one."""

_FORM = re.compile(rf"({START}[0-9a-f]{{12}})_[0-9a-f]{{48}}")

TOUCHED = timedelta(minutes=1)
"""So exactly is it known when a key was last used."""


@dataclass(frozen=True)
class Key:
    """One row of `keys`; `prefix` is the part of the key that may be shown."""

    id: str
    name: str
    owner: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


COLUMNS = tuple(keys.c[name] for name in Key.__annotations__)

_VALID = or_(keys.c.expires_at.is_(None), keys.c.expires_at > now())


def issue(
    tx: WriteTx,
    *,
    name: str,
    owner: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """A new key and its text, which nobody can tell again: 192 random bits, stored as a digest.

    A digest without salt or rounds is enough: what is random cannot be guessed from a dictionary.
    """
    prefix = START + secrets.token_hex(6)
    text = f"{prefix}_{secrets.token_hex(24)}"
    row = tx.execute(
        insert(keys)
        .values(
            id=f"key_{uuid7().hex}",
            name=name,
            owner=owner,
            prefix=prefix,
            digest=_digest(text),
            scopes=sorted(scopes),
            created_at=now(),
            expires_at=expires_at,
        )
        .returning(*COLUMNS)
    ).one()
    return _from_row(row), text


def find(tx: ReadTx) -> list[Key]:
    """Every key, the newest first, also those that have expired."""
    return [_from_row(row) for row in tx.execute(select(*COLUMNS).order_by(keys.c.id.desc()))]


def revoke(tx: WriteTx, key_id: str) -> bool:
    """Deletes a key; whether there was one."""
    return tx.execute(delete(keys).where(keys.c.id == key_id)).rowcount == 1


def has_form(text: str) -> bool:
    """Whether a key that `issue` has made could be this."""
    return _FORM.fullmatch(text) is not None


def held(tx: ReadTx, text: str) -> Key | None:
    """The key of that text, where there is one and it has not expired."""
    if (form := _FORM.fullmatch(text)) is None:
        return None
    prefix = form.group(1)
    query = select(*COLUMNS, keys.c.digest).where(keys.c.prefix == prefix, _VALID)
    row = tx.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, _digest(text)):
        return None
    return _from_row(row)


def touch(tx: WriteTx, key_id: str) -> None:
    """Remembers that a key was used, if that was not known of the last minute."""
    stale = or_(keys.c.used_at.is_(None), keys.c.used_at < from_now(-TOUCHED))
    tx.execute(update(keys).where(keys.c.id == key_id, stale).values(used_at=now()))


def any_valid(tx: ReadTx) -> bool:
    """Whether anybody could come in with a key."""
    return bool(tx.execute(select(exists().where(_VALID))).scalar_one())


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _from_row(row: Any) -> Key:
    values = {name: getattr(row, name) for name in Key.__annotations__}
    return Key(**{**values, "scopes": frozenset(map(Scope, row.scopes))})
