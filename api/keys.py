"""API keys: made, listed and revoked by those with the scope `admin`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from api.parts import CallerPart, GatePart, SessionsPart
from api.problems import NotFoundError
from spec.access import Caller, Scope
from store import audit, keys
from store.database import WriteTx
from store.keys import Key

router = APIRouter(prefix="/v1/keys", tags=["keys"])

LATEST = timedelta(days=36_500)

Name = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]*$", min_length=1, max_length=64),
]


def _soon(expires_at: datetime | None) -> datetime | None:
    if expires_at and not timedelta() < expires_at - datetime.now(UTC) < LATEST:
        raise PydanticCustomError("expiry", "must be in the future, within a hundred years")
    return expires_at


def _each_once(scopes: object) -> object:
    # one more than there are has a wrong one or one twice among them, however many follow
    first = scopes[: len(Scope) + 1] if isinstance(scopes, list) else []
    if any(each in first[:i] for i, each in enumerate(first)):
        raise PydanticCustomError("repeated", "must name each once")
    return scopes


class KeySpec(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, Field(description="what the history calls it: of a person, a machine")]
    owner: Annotated[
        Name | None,
        Field(
            description="whose jobs it sees and makes, by default one called as the key is: keys of"
            " one owner see the same"
        ),
    ] = None
    scopes: Annotated[
        frozenset[Scope],
        BeforeValidator(_each_once),
        Field(
            min_length=1,
            description="read: look; write: submit, move and delete; admin: keys, audit trail and"
            " workers. None includes another",
        ),
    ] = frozenset({Scope.READ, Scope.WRITE})
    expires_at: Annotated[
        AwareDatetime | None,
        AfterValidator(_soon),
        Field(description="from then on it is refused; null: never"),
    ] = None


class KeyOut(BaseModel):
    """A key, without what makes it one."""

    id: str
    name: str
    owner: str
    prefix: Annotated[str, Field(description="how the key begins")]
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="to a minute")]

    @classmethod
    def of(cls, key: Key, **more: str) -> Self:
        """From the row."""
        return cls(
            id=key.id,
            name=key.name,
            owner=key.owner,
            prefix=key.prefix,
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.used_at,
            **more,
        )


class NewKeyOut(KeyOut):
    """A key that has just been made."""

    secret: Annotated[str, Field(description="the key itself: it is told this one time only")]


class KeysOut(BaseModel):
    """Every key there is."""

    data: list[KeyOut]


@router.post("", operation_id="create_key", status_code=201)
def create(spec: KeySpec, caller: CallerPart, sessions: SessionsPart) -> NewKeyOut:
    """Makes a key; its secret is in this answer and nowhere else."""
    with sessions.begin() as tx:
        key, secret = made(tx, spec, by=caller)
    return NewKeyOut.of(key, secret=secret)


def made(tx: WriteTx, spec: KeySpec, *, by: Caller) -> tuple[Key, str]:
    """The key that was asked for, and its secret."""
    key, secret = keys.issue(
        tx,
        name=spec.name,
        owner=spec.owner or spec.name,
        scopes=spec.scopes,
        expires_at=spec.expires_at,
    )
    audit.note(tx, by, "create_key", key.id)
    return key, secret


@router.get("", operation_id="list_keys")
def find(sessions: SessionsPart) -> KeysOut:
    """Lists all keys, the newest first, also those that have expired."""
    with sessions.read() as tx:
        found = keys.find(tx)
    return KeysOut(data=[KeyOut.of(key) for key in found])


@router.delete(
    "/{key_id}",
    operation_id="revoke_key",
    status_code=204,
    responses={204: {"description": "it is revoked"}},
)
def revoke(key_id: str, caller: CallerPart, sessions: SessionsPart, gate: GatePart) -> None:
    """Revokes a key: it is refused from now on, by other servers within a second."""
    with sessions.begin() as tx:
        # what has not the form of an id is that of no key; databases need not see it
        if not (re.fullmatch(r"key_[0-9a-z]{1,60}", key_id) and keys.revoke(tx, key_id)):
            raise NotFoundError(f"there is no key {ascii(key_id)[1:-1]}; GET /v1/keys lists them")
        audit.note(tx, caller, "revoke_key", key_id)
    gate.forget(key_id)
