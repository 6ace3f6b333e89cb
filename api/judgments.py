"""The trials of a sweep, judged: ranked, what matters, what the values are along parameters."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from api import tables
from api.conditional import CSV, conditional
from api.judging import (
    NOT_COMPARED,
    SEED,
    AskedPart,
    Judged,
    RepeatedPart,
    answered,
    check_repeated,
    check_varied,
    grouped,
    judged,
)
from api.judgment_answers import (
    ImportanceOut,
    ImportancesOut,
    InteractionOut,
    MarginalOut,
    MarginalsOut,
    PairOut,
    RankedOut,
    RankingOut,
)
from api.parts import AcceptPart
from spec.spaces import MOST_JOBS
from store.database import ReadTx
from store.sweeps import Sweep
from sweeps.importance import PER_CELL, importance, interactions
from sweeps.ranking import rank
from sweeps.space import identity
from sweeps.summaries import marginals, pair

router = APIRouter(prefix="/v1/sweeps/{sweep_id:sweep}", tags=["sweeps"])

FEW = 20
"""Trials below which shares are mostly chance."""

EVEN = {"grid", "random", "quasi_random"}
"""Samplers that do not look at values, so that parameters come independently of each other."""


@router.get(
    "/ranking",
    operation_id="get_sweep_ranking",
    response_model=RankingOut,
    responses={**conditional("of what became of the jobs", table=True), **NOT_COMPARED},
)
def ranking(
    *,
    asked: AskedPart,
    repeated: RepeatedPart = [SEED],  # noqa: B006 - FastAPI's way to say it, never changed
    limit: Annotated[
        int | None, Query(ge=1, le=MOST_JOBS, description="the most to tell; unset: all of them")
    ] = None,
    accept: AcceptPart = "*/*",
) -> Response:
    """Configurations, the best first, each compared with the best over the seeds of both."""

    def told(tx: ReadTx, sweep: Sweep) -> RankingOut:
        found = judged(tx, sweep)
        check_repeated(repeated, found.varied)
        groups = grouped([row.parameters for row in found.rows], repeated)
        ranked = rank(found.rows, found.objective.direction, repeated=repeated)
        return RankingOut(
            **_common(found),
            repeated=repeated,
            configurations=len(ranked),
            data=[
                RankedOut.of(each, [found.jobs[i] for i in groups[identity(each.parameters)]])
                for each in ranked[:limit]
            ],
        )

    as_table = tables.of_ranking if CSV in accept else None
    return answered(asked, told, as_table)


@router.get(
    "/importance",
    operation_id="get_sweep_importance",
    response_model=ImportancesOut,
    responses={**conditional("of what became of the jobs"), **NOT_COMPARED},
)
def importances(
    *,
    asked: AskedPart,
    by: Annotated[
        Literal["rank", "value"],
        Query(description="what is to be explained: `value` leaves out what diverged"),
    ] = "rank",
) -> Response:
    """How much of how the values differ goes with each parameter, alone and two together."""

    def told(tx: ReadTx, sweep: Sweep) -> ImportancesOut:
        found = judged(tx, sweep)
        direction = found.objective.direction
        single = importance(found.rows, direction, by=by)
        double = interactions(found.rows, direction, by=by)
        return ImportancesOut(
            **_common(found),
            by=by,
            data=[ImportanceOut.of(each) for each in single],
            interactions=[InteractionOut.of(each) for each in double],
            warnings=_warnings(sweep, found, {each.pointer for each in single}, len(double)),
        )

    return answered(asked, told)


@router.get(
    "/marginals",
    operation_id="get_sweep_marginals",
    response_model=MarginalsOut,
    responses={**conditional("of what became of the jobs"), **NOT_COMPARED},
)
def along_one(
    *,
    asked: AskedPart,
    parameter: Annotated[
        list[str] | None, Query(description="JSON pointer; several may be given, unset: all")
    ] = None,
) -> Response:
    """What the values are along each parameter, whatever the others are."""

    def told(tx: ReadTx, sweep: Sweep) -> MarginalsOut:
        found = judged(tx, sweep)
        check_varied(parameter or [], found.varied)
        data = marginals(found.rows, found.objective.direction)
        return MarginalsOut(
            **_common(found),
            data=[MarginalOut.of(m) for m in data if parameter is None or m.pointer in parameter],
        )

    return answered(asked, told)


@router.get(
    "/pairs",
    operation_id="get_sweep_pair",
    response_model=PairOut,
    responses={**conditional("of what became of the jobs"), **NOT_COMPARED},
)
def along_two(
    *,
    asked: AskedPart,
    x: Annotated[str, Query(description="JSON pointer")],
    y: Annotated[str, Query(description="JSON pointer of another parameter")],
) -> Response:
    """What the values are along two parameters, whatever the others are."""

    def told(tx: ReadTx, sweep: Sweep) -> PairOut:
        found = judged(tx, sweep)
        check_varied([x, y], found.varied)
        columns = PairOut.columns(pair(found.rows, (y, x), found.objective.direction))
        return PairOut.model_validate({**_common(found), **columns})

    return answered(asked, told)


def _common(found: Judged) -> dict[str, Any]:
    return {
        "metric": found.objective.metric,
        "direction": found.objective.direction,
        "trials": len(found.rows),
        "left_out": found.left_out,
    }


def _warnings(sweep: Sweep, found: Judged, told: set[str], pairs: int) -> list[str]:
    said = []
    if len(found.rows) < FEW:
        counted = f"{len(found.rows)} trial{'' if len(found.rows) == 1 else 's'}"
        said.append(f"shares of {counted} are mostly chance: have {FEW} or more")
    sampler: Any = sweep.spec.get("sampler")
    name = sampler.get("name") if isinstance(sampler, dict) else None
    if name is not None and name not in EVEN:  # a recipe has no sampler
        said.append(
            f"{name} crowds around the best, and varies parameters together: a share may belong to"
            " another one; quasi_random tells them apart"
        )
    if missing := [pointer for pointer in found.varied if pointer not in told]:
        said.append(f"no share for want of trials or of different values: {', '.join(missing)}")
    if pairs < len(told) * (len(told) - 1) // 2:
        said.append(
            f"interactions of some parameters are left out: they want {PER_CELL} trials for each"
            " combination of values"
        )
    return said
