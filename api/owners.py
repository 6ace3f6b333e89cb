"""Owners: what they use, their shares and limits, and what they let be deleted."""

import re
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.parts import CallerPart, SessionsPart
from api.problems import NotFoundError
from spec.jobs import TagKey
from spec.values import Text
from store import audit, owners, retention
from store.owners import Rule, Standing
from store.retention import What

router = APIRouter(prefix="/v1", tags=["owners"])


def _whole(value: object) -> object:
    # 1e9 is a whole number in JSON, and how people write it
    return int(value) if isinstance(value, float) and value.is_integer() else value


Limit = Annotated[int, Field(strict=True, ge=0, le=2**53), BeforeValidator(_whole)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1), BeforeValidator(_whole)]


class RuleSpec(BaseModel):
    """What an owner may have; null is no limit."""

    model_config = ConfigDict(extra="forbid")

    share: Annotated[
        float,
        Field(strict=True, gt=0, le=1e6, description="of the workers: 2 gets twice as many as 1"),
    ] = 1.0
    max_running: Annotated[Count | None, Field(description="jobs at once; more wait")] = None
    max_points: Annotated[
        Limit | None,
        Field(description="recorded iterations, beyond which nothing more may be submitted"),
    ] = None
    max_checkpoint_bytes: Annotated[
        Limit | None,
        Field(description="of checkpoints, beyond which nothing more may be submitted"),
    ] = None


class OwnerOut(RuleSpec):
    """An owner: its rule, and what it has."""

    owner: str
    waiting: Annotated[int, Field(description="jobs, paused ones among them")]
    running: int
    points: Annotated[int, Field(description="iterations recorded")]
    checkpoint_bytes: int
    counted_at: Annotated[
        datetime | None, Field(description="when points and bytes were; null: not yet")
    ]

    @classmethod
    def of(cls, found: Standing) -> Self:
        """From the store."""
        said = asdict(found)
        return cls(**said.pop("rule"), **said)


class OwnersOut(BaseModel):
    """Every owner with a job or a rule."""

    data: list[OwnerOut]


class RetentionSpec(BaseModel):
    """What is deleted of jobs, and when."""

    model_config = ConfigDict(extra="forbid")

    what: Annotated[
        What,
        Field(
            description="series: every recorded row; of jobs that did not succeed the checkpoints"
            " as well, so that a retry starts over. checkpoints: those alone"
        ),
    ]
    after_days: Annotated[
        int, Field(strict=True, ge=0, le=36_500, description="since the end of the job")
    ]
    tag: Annotated[TagKey | None, Field(description="of jobs with this tag only")] = None
    value: Annotated[Text | None, Field(description="and only of this value of it")] = None

    @model_validator(mode="after")
    def _value_of_a_tag(self) -> Self:
        if self.value is not None and self.tag is None:
            raise PydanticCustomError("value", "is of a tag: name it in `tag`", {"field": "value"})
        return self


class RetentionOut(BaseModel):
    """A rule of retention."""

    id: str
    what: What
    after_days: int
    tag: str | None
    value: str | None
    created_at: datetime


class RetentionsOut(BaseModel):
    """All rules of one owner, the oldest first."""

    data: list[RetentionOut]


@router.get("/usage", operation_id="get_usage")
def usage(caller: CallerPart, sessions: SessionsPart) -> OwnerOut:
    """What the caller's owner has and may have."""
    with sessions.read() as tx:
        return OwnerOut.of(owners.standing(tx, caller.owner))


@router.get("/owners", operation_id="list_owners")
def find(sessions: SessionsPart) -> OwnersOut:
    """Every owner with its share, its limits and what it has."""
    with sessions.read() as tx:
        return OwnersOut(data=[OwnerOut.of(each) for each in owners.standings(tx)])


@router.put("/owners/{owner:path}", operation_id="put_owner")
def put(owner: str, rule: RuleSpec, caller: CallerPart, sessions: SessionsPart) -> OwnerOut:
    """Sets the share and the limits of an owner; a limit that is left out is none."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", owner):
        raise NotFoundError(f"no owner is called {ascii(owner)[1:-1]}")
    with sessions.begin() as tx:
        owners.put(tx, owner, Rule(**rule.model_dump()))
        audit.note(tx, caller, "put_owner", owner)
        return OwnerOut.of(owners.standing(tx, owner))


@router.get("/retention", operation_id="list_retention")
def rules(caller: CallerPart, sessions: SessionsPart) -> RetentionsOut:
    """The rules by which series and checkpoints of the caller's jobs are deleted."""
    with sessions.read() as tx:
        found = retention.find(tx, caller.owner)
    return RetentionsOut(
        data=[RetentionOut.model_validate(each, from_attributes=True) for each in found]
    )


@router.post("/retention", operation_id="create_retention", status_code=201)
def add(spec: RetentionSpec, caller: CallerPart, sessions: SessionsPart) -> RetentionOut:
    """Adds a rule; it is applied from now on, to jobs that have ended before as well."""
    with sessions.begin() as tx:
        made = retention.add(tx, caller.owner, **spec.model_dump())
        audit.note(tx, caller, "create_retention", made.id)
    return RetentionOut.model_validate(made, from_attributes=True)


@router.delete(
    "/retention/{rule_id}",
    operation_id="delete_retention",
    status_code=204,
    responses={204: {"description": "it is gone"}},
)
def remove(rule_id: str, caller: CallerPart, sessions: SessionsPart) -> None:
    """Deletes a rule; what it has deleted stays so."""
    with sessions.begin() as tx:
        try:
            retention.remove(tx, rule_id, owner=caller.owner)
        except retention.RuleNotFoundError as error:
            raise NotFoundError(f"there is no rule {ascii(rule_id)[1:-1]}") from error
        audit.note(tx, caller, "delete_retention", rule_id)
