"""The learning-rate policies, and what any of them would do."""

from functools import cache
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api import bounds
from api.examples import PREVIEWS
from api.parts import CallerPart, SessionsPart
from api.problems import InvalidError, field_errors
from schedules import POLICIES, Auto, Policy
from schedules.values import MAX_ITERATIONS
from store.database import ReadTx

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

MAX_ROWS = 1_000_000


class PreviewIn(BaseModel):
    """A schedule, and how long it is to run."""

    model_config = ConfigDict(extra="forbid")

    schedule: Policy
    iterations: Annotated[int, Field(strict=True, ge=1, le=MAX_ITERATIONS)]
    points: Annotated[
        int | None,
        Field(strict=True, ge=2, le=MAX_ROWS, description="so many iterations, evenly spaced"),
    ] = None
    iterations_per_epoch: Annotated[
        int | None,
        Field(strict=True, ge=1, le=MAX_ITERATIONS, description="where the schedule has epochs"),
    ] = None


class PreviewOut(BaseModel):
    """Learning rate (and momentum, where cycled) by iteration."""

    iterations: int
    returned: int
    columns: dict[str, list[float]]


class PolicyOut(BaseModel):
    """One policy of the catalogue."""

    name: str
    title: str
    description: str
    formula: Annotated[
        str,
        Field(
            description="lines of text; t counts the N iterations of the run from 0, both without"
            " those of the warm-up"
        ),
    ]
    source: str
    stateful: Annotated[
        bool,
        Field(description="its rates depend on what the run sees; a preview shows the first one"),
    ]
    cyclical: Annotated[
        bool,
        Field(description="it may have cycles, for a length in cycles and for snapshots"),
    ]
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema")]


class PoliciesOut(BaseModel):
    """Every policy."""

    data: list[PolicyOut]


@router.get("", operation_id="list_schedules")
async def catalogue() -> PoliciesOut:
    """Every policy with its formula, its source and the JSON Schema of its parameters."""
    return _catalogue()


@cache
def _catalogue() -> PoliciesOut:
    # once: the schemas take long enough to hold up every other request meanwhile
    return PoliciesOut(
        data=[
            PolicyOut(
                name=policy.model_fields["policy"].default,
                title=policy.title,
                description=policy.__doc__ or "",
                formula=policy.formula,
                source=policy.source,
                stateful=policy.stateful,
                cyclical=policy.cyclical,
                parameters=policy.model_json_schema(),
            )
            for policy in POLICIES
        ],
    )


@router.post("/preview", operation_id="preview_schedule", response_model=PreviewOut)
def preview(
    wanted: Annotated[PreviewIn, Body(openapi_examples=PREVIEWS)],
    caller: CallerPart,
    sessions: SessionsPart,
) -> Response:
    """What a schedule would do, without a job."""
    n = wanted.iterations
    if isinstance(wanted.schedule, Auto):
        raise InvalidError.at(
            "/schedule",
            "has no rates before its range test; preview the schedule inside, with numbers",
        )
    if wanted.points is None and n > MAX_ROWS:
        raise InvalidError.at("/points", f"must be given for more than {MAX_ROWS} iterations")
    with sessions.read() as tx:
        schedule = _in_numbers(tx, wanted, caller.owner)
    if wanted.points is None or wanted.points >= n:
        t = np.arange(n)
    else:
        t = np.linspace(0, n - 1, wanted.points).round().astype(np.int64)
    columns = {"iteration": t, "lr": schedule.lr_at(t, iterations=n)}
    momentum = schedule.momentum_at(t, iterations=n)
    if momentum is not None:
        columns["momentum"] = momentum
    body = {"iterations": n, "returned": len(t), "columns": columns}
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
        media_type="application/json",
    )


def _in_numbers(tx: ReadTx, wanted: PreviewIn, owner: str) -> Policy:
    schedule = wanted.schedule.with_rates(bounds.taken(tx, wanted.schedule, owner=owner))
    if schedule.in_epochs() and wanted.iterations_per_epoch is None:
        raise InvalidError.at("/iterations_per_epoch", "must be given: the schedule has epochs")
    try:
        return schedule.resolve(iterations_per_epoch=wanted.iterations_per_epoch or 1)
    except ValidationError as error:
        wrong = field_errors(error.errors(), schedule.model_dump(), under="/schedule")
        raise InvalidError(wrong) from error
