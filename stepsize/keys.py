"""API keys, and who asks: what a client says about callers."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

import httpx
from pydantic import Field

from stepsize import transport
from stepsize.answers import Answer

Scope = Literal["read", "write", "admin"]


class Key(Answer):
    """A key; `secret` is the key itself, and known only of one that has just been made."""

    id: str
    name: str
    owner: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    secret: Annotated[str | None, Field(repr=False)] = None


class Caller(Answer):
    """Who asks, and what that one may do."""

    owner: str
    name: str
    key: str | None = None
    scopes: list[str]


class _Keys(Answer):
    data: list[Key]


class Keys:
    """The keys of a server; all of this takes one with the scope `admin`."""

    def __init__(self, send: Callable[..., httpx.Response]) -> None:
        self._send = send

    def create(
        self,
        name: str,
        *,
        owner: str | None = None,
        scopes: Sequence[Scope] = ("read", "write"),
        expires_at: datetime | None = None,
    ) -> Key:
        """Makes a key; keys of one owner, by default called as the key is, see the same jobs."""
        answer = self._send("POST", "/v1/keys", body=wanted(name, owner, scopes, expires_at))
        return transport.parse(Key, answer)

    def list(self) -> list[Key]:
        """Every key, the newest first."""
        return transport.parse(_Keys, self._send("GET", "/v1/keys")).data

    def revoke(self, key: Key | str) -> None:
        """Makes a key worthless."""
        key_id = key if isinstance(key, str) else key.id
        self._send("DELETE", f"/v1/keys/{quote(key_id, safe='')}")


def wanted(
    name: str, owner: str | None, scopes: Sequence[str], expires_at: datetime | None
) -> dict[str, object]:
    """The body that asks for a key."""
    return {
        "name": name,
        "owner": owner,
        "scopes": list(scopes),
        "expires_at": expires_at and expires_at.isoformat(),
    }
