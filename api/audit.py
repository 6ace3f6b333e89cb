"""The audit trail: who has changed what."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.parts import SessionsPart
from store import audit

router = APIRouter(prefix="/v1/audit", tags=["keys"])


class Page(BaseModel):
    """Which entries to list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str | None, Field(pattern=r"^aud_[0-9a-z]{1,60}$")] = None


class EntryOut(BaseModel):
    """One change that a client made."""

    id: str
    at: datetime
    owner: str
    actor: Annotated[str, Field(description="the name of the key")]
    key: Annotated[str | None, Field(description="its id, which may have been revoked since")]
    verb: str
    target: Annotated[str, Field(description="the id of what was changed")]
    request: Annotated[str | None, Field(description="the X-Request-ID of the answer")]


class AuditOut(BaseModel):
    """A page of the audit trail."""

    data: list[EntryOut]
    next_cursor: str | None


@router.get("", operation_id="list_audit_entries")
def find(page: Annotated[Page, Query()], sessions: SessionsPart) -> AuditOut:
    """Lists the changes that clients made in the last year, the newest first."""
    with sessions.read() as tx:
        found = audit.find(tx, before=page.cursor, limit=page.limit + 1)
    shown = found[: page.limit]
    return AuditOut(
        data=[EntryOut.model_validate(each, from_attributes=True) for each in shown],
        next_cursor=shown[-1].id if len(found) > len(shown) else None,
    )
