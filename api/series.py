"""Recorded series, raw or reduced, as JSON, CSV, Arrow or Parquet."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api import formats
from api.parts import CallerPart, JobIdPart, SessionsPart
from api.problems import InvalidError, NotAcceptableError
from spec.access import Caller
from store import jobs, series
from store.database import ReadTx, Sessions
from store.jobs import Job
from store.series import SERIES, Rows
from store.views import MIN_POINTS

router = APIRouter(prefix="/v1/jobs/{job_id}/series", tags=["series"])

LAST = 2**62


class Reduced(BaseModel):
    """How a view was made from all rows."""

    method: Literal["minmax"] = "minmax"
    bucket: Annotated[int, Field(description="iterations per bucket, a power of two")]


class SeriesOut(BaseModel):
    """Rows of a series as columns of numbers."""

    job: str
    names: list[str]
    total_points: Annotated[int, Field(description="rows in the range, before any reduction")]
    returned: int
    reduced: Reduced | None
    next_start: Annotated[int, Field(description="the `start` that asks for what is new")]
    complete: Annotated[
        bool,
        Field(description="the job has ended, and these are all its rows in the range"),
    ]
    columns: dict[str, list[float | None]]
    nonfinite: Annotated[
        dict[str, list[int]],
        Field(description="iterations whose value is NaN or infinite, and null in its column"),
    ]


class Range(BaseModel):
    """Which rows of which series."""

    model_config = ConfigDict(extra="forbid")

    names: Annotated[str, Field(description="names of one series, by commas")] = "loss,lr"
    start: Annotated[int, Field(ge=0, le=LAST)] = 0
    stop: Annotated[int | None, Field(ge=0, le=LAST)] = None
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Wanted(Range):
    """Rows of one job: all, or some."""

    points: Annotated[
        int | None,
        Field(ge=MIN_POINTS, le=1_000_000, description="at most so many rows, extremes kept"),
    ] = None


@router.get(
    "",
    operation_id="get_series",
    response_model=SeriesOut,
    responses={
        200: {"content": formats.DESCRIBED},
        406: {"description": "none of JSON, CSV, Arrow and Parquet"},
    },
)
def read(
    job_id: JobIdPart,
    caller: CallerPart,
    wanted: Annotated[Wanted, Query()],
    sessions: SessionsPart,
    # the contract says by the types of the answer what can be accepted
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Every row of `[start, stop)`, or a view of at most `points` rows that keeps the extremes."""
    media = formats.media(accept)
    if media is None:
        raise NotAcceptableError(f"series are served as {', '.join(formats.SERVED)}")
    if media != formats.JSON and wanted.points is None:
        return StreamingResponse(_all(sessions, caller, job_id, wanted, media), media_type=media)
    with sessions.read() as tx:
        job = jobs.get(tx, job_id, owner=caller.owner)
        rows = selected(tx, job_id, wanted, wanted.points)
    if media != formats.JSON:
        return Response(b"".join(formats.written([rows], media)), media_type=media)
    return Response(dumped(columns(job, rows)), media_type=media)


def _all(
    sessions: Sessions, caller: Caller, job_id: str, wanted: Range, media: str
) -> Iterator[bytes]:
    """The bytes of all rows; what is wrong is known before anything is sent."""
    names, which = names_of(wanted.names)
    with sessions.read() as tx:
        jobs.get(tx, job_id, owner=caller.owner)
    pages = series.stream(
        sessions,
        job_id,
        names,
        series=which,
        repeat=wanted.repeat,
        start=wanted.start,
        stop=wanted.stop,
    )
    try:
        first = next(pages)
    except series.NotRecordedError as error:
        raise InvalidError.at("/names", str(error)) from error
    return formats.written(itertools.chain([first], pages), media)


def selected(tx: ReadTx, job_id: str, wanted: Range, points: int | None) -> Rows:
    """The rows of a job that were asked for.

    Raises:
        InvalidError: the job does not record a name, or there is no such name.
    """
    names, which = names_of(wanted.names)
    try:
        return series.read(
            tx,
            job_id,
            names,
            series=which,
            repeat=wanted.repeat,
            start=wanted.start,
            stop=wanted.stop,
            points=points,
        )
    except series.NotRecordedError as error:
        raise InvalidError.at("/names", str(error)) from error


def columns(job: Job, rows: Rows) -> dict[str, Any]:
    """The content of a SeriesOut."""
    found: dict[str, Any] = {"iteration": rows.iteration}
    # as doubles: the shortest digits of a float32 would read back as another double
    found |= {name: values.astype(np.float64) for name, values in rows.columns.items()}
    bad = {name: rows.iteration[~np.isfinite(v)] for name, v in rows.columns.items()}
    return {
        "job": job.id,
        "names": list(rows.columns),
        "total_points": rows.total,
        "returned": len(rows.iteration),
        "reduced": None if rows.bucket is None else {"method": "minmax", "bucket": rows.bucket},
        "next_start": rows.next_start,
        "complete": job.state.finished and not rows.cut,
        "columns": found,
        "nonfinite": {name: where for name, where in bad.items() if len(where)},
    }


def dumped(body: Mapping[str, Any]) -> bytes:
    """The body as JSON, arrays included; what is not a finite number is null."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


class FiguresOut(BaseModel):
    """One quantity of one repeat; extremes are over finite values."""

    repeat: int
    name: str
    count: int
    first: float | None
    last: float | None
    min: float | None
    min_at: int | None
    max: float | None
    max_at: int | None


class SummaryOut(BaseModel):
    """What a job recorded, in figures."""

    job: str
    data: list[FiguresOut]


@router.get("/summary", operation_id="summarize_series")
def summary(job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart) -> SummaryOut:
    """Count, ends and extremes of every recorded quantity, and the iterations of the extremes."""
    with sessions.read() as tx:
        job = jobs.get(tx, job_id, owner=caller.owner)
        figures = series.summary(tx, job_id)
    data = [FiguresOut.model_validate(each, from_attributes=True) for each in figures]
    return SummaryOut(job=job.id, data=data)


def names_of(wanted: str) -> tuple[list[str], str]:
    """The names, and the series that they are of.

    Raises:
        InvalidError: there is no such name, or they have not the same iterations.
    """
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    home = {name: which for which, members in SERIES.items() for name in members}
    for name in names:
        if name not in home:
            known = ", ".join(home)
            raise InvalidError.at("/names", f"unknown: '{name}'; known: {known}")
        if home[name] != home[names[0]]:
            detail = f"{name} and {names[0]} have iterations of their own; ask for one at a time"
            raise InvalidError.at("/names", detail)
    return names, home[names[0]]
