"""What all judgments of a sweep share: which trials count, and how they are asked for."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from api.conditional import CSV
from api.etags import etag_of_outcomes, matches
from api.parts import CallerPart, IfNoneMatchPart, SessionsPart, SweepIdPart
from api.problems import NotFoundError, ProblemError
from spec.states import State
from spec.sweeps import Objective, number
from store import outcomes, sweeps
from store.database import ReadTx, Sessions
from store.outcomes import Outcome
from store.sweeps import Sweep
from sweeps.ranking import Row
from sweeps.space import Parameters, identity

SEED = "/seed"

RepeatedPart = Annotated[
    list[str],
    Query(description="parameters that only repeat a configuration; several may be given"),
]
NOT_COMPARED: dict[int | str, Any] = {
    409: {"description": "the jobs of the sweep are not what this compares; it says what is"}
}


Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True)
class Asked:
    """A request about a sweep; `of` is its path and query."""

    sessions: Sessions
    owner: str
    sweep_id: str
    of: str
    if_none_match: str | None


async def _asked(
    request: Request,
    sweep_id: SweepIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    if_none_match: IfNoneMatchPart = None,
) -> Asked:
    of = f"{request.url.path}?{request.url.query}"
    return Asked(sessions, caller.owner, sweep_id, of, if_none_match)


AskedPart = Annotated[Asked, Depends(_asked)]


class NotComparableError(ProblemError):
    """The sweep has nothing that this compares."""

    status = HTTPStatus.CONFLICT


class LeftOut(BaseModel):
    """Trials that an answer does not count, by the reason."""

    short: Annotated[
        int, Field(description="that look for where to look, as in `short` of results")
    ] = 0
    stopped: Annotated[int, Field(description="ended early, for others did better")] = 0
    failed: int = 0
    cancelled: int = 0
    unfinished: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class Judged:
    """The trials of a sweep that ran to their end.

    Attributes:
        rows: as they are judged, in the order in which they were chosen.
        jobs: of each row.
        varied: every parameter that a trial has, those of trials left out too.
    """

    objective: Objective
    rows: list[Row]
    jobs: list[str]
    left_out: LeftOut
    varied: tuple[str, ...]


def kind_of(sweep: Sweep) -> str:
    """Of its jobs."""
    template = sweep.spec.get("template")
    return str(template.get("kind")) if isinstance(template, dict) else ""


def judged(tx: ReadTx, sweep: Sweep) -> Judged:
    """The trials by the sweep's objective.

    Raises:
        NotComparableError: they have no such number.
    """
    objective = sweeps.objective_of(sweep)
    if objective is None:
        raise NotComparableError(
            "its objective is that of another version of stepsize, and means nothing to this one:"
            " read its results"
        )
    found = outcomes.outcomes(tx, sweep.id, objective.metric.split("."))
    counted, left_out = counting(found)
    rows = [Row(each.parameters, number(each.found[0])) for each in counted]
    if kind_of(sweep) == "range_test" and all(row.value is None for row in rows):
        raise NotComparableError(
            f"range tests have no {objective.metric}: ask for the pick of the sweep, which compares"
            " their edges and lowest losses (GET .../pick, `stepsize sweep-pick`), or give it an"
            " objective such as suggestion.max_lr"
        )
    varied = dict.fromkeys(pointer for each in found for pointer in each.parameters)
    jobs = [each.job_id or "" for each in counted]
    return Judged(objective, rows, jobs, left_out, tuple(varied))


def counting(
    found: Sequence[Outcome], *, failed_too: bool = False
) -> tuple[list[Outcome], LeftOut]:
    """The trials that ran to their end, and how many did not; those that failed as asked."""
    counted, left_out = [], LeftOut()
    for each in found:
        match each.state:
            case None:
                left_out.deleted += 1
            case State.FAILED if not failed_too:
                left_out.failed += 1
            case State.CANCELLED:
                left_out.cancelled += 1
            case State.QUEUED | State.RUNNING | State.PAUSED:
                left_out.unfinished += 1
            case _ if each.short:
                left_out.short += 1
            case _ if each.stopped:
                left_out.stopped += 1
            case _:
                counted.append(each)
    return counted, left_out


def check_varied(pointers: Sequence[str], varied: Sequence[str]) -> None:
    """Refuses what no trial varies.

    Raises:
        NotFoundError: it names what is varied.
    """
    for pointer in pointers:
        if pointer not in varied:
            names = ", ".join(dict.fromkeys(varied)) or "nothing yet"
            raise NotFoundError(f"{pointer} is not varied by this sweep, but: {names}")


def check_repeated(repeated: Sequence[str], varied: Sequence[str]) -> None:
    """Refuses what no trial varies; what is meant where nothing is said need not be varied."""
    check_varied([each for each in repeated if each != SEED], varied)


def kept(parameters: Parameters, repeated: Sequence[str]) -> Parameters:
    """The parameters without those that only repeat them."""
    return {pointer: value for pointer, value in parameters.items() if pointer not in repeated}


def grouped(
    parameters: Sequence[Parameters], repeated: Sequence[str]
) -> Mapping[Hashable, list[int]]:
    """Which of them are one configuration, in the order in which they are found."""
    groups: dict[Hashable, list[int]] = {}
    for i, each in enumerate(parameters):
        groups.setdefault(identity(kept(each, repeated)), []).append(i)
    return groups


def answered(
    asked: Asked,
    told: Callable[[ReadTx, Sweep], Told],
    as_table: Callable[[Told], str] | None = None,
) -> Response:
    """What is told of the sweep, where the client does not have it already."""
    with asked.sessions.read() as tx:
        sweep = sweeps.get(tx, asked.sweep_id, owner=asked.owner)
        tag = outcomes.tag(tx, sweep.id)
        headers = {"ETag": etag_of_outcomes(tag, asked.of, as_table is not None), "Vary": "Accept"}
        if matches(asked.if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        answer = told(tx, sweep)
    if as_table is not None:
        return Response(as_table(answer), 200, headers, media_type=CSV)
    return Response(answer.model_dump_json(), 200, headers, media_type="application/json")
