"""Recorded series, raw or reduced, as JSON, CSV, Arrow or Parquet."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api import damage, formats
from api.damage import DamageOut
from api.etags import etag_of_series, matches
from api.names import names_of
from api.parts import CallerPart, IfNoneMatchPart, JobIdPart, SessionsPart
from api.problems import InvalidError, NotAcceptableError
from store import jobs, series
from store.database import ReadTx, Sessions
from store.jobs import Job
from store.series import Damage, Rows
from store.views import MIN_POINTS

router = APIRouter(prefix="/v1/jobs/{job_id}/series", tags=["series"])

LAST = 2**62

HEADERS: dict[str, Any] = {
    "ETag": {
        "schema": {"type": "string"},
        "description": "weak; of the versions of the jobs and the type of the answer",
    },
    damage.HEADER: {
        "schema": {"type": "string"},
        "description": "iterations whose chunks cannot be read, as `4-7, 20-24`, stops excluded",
    },
}


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
        Field(description="the job has ended, and there are no further rows in the range"),
    ]
    columns: dict[str, list[float | None]]
    nonfinite: Annotated[
        dict[str, list[int]],
        Field(description="iterations whose value is NaN or infinite, and null in its column"),
    ]
    damaged: Annotated[
        list[DamageOut],
        Field(description="chunks that cannot be read, whose rows are missing and not counted"),
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
        200: {"content": formats.DESCRIBED, "headers": HEADERS},
        304: {"description": "nothing was added since the given ETag", "headers": HEADERS},
        406: {"description": "none of JSON, CSV, Arrow and Parquet"},
    },
)
def read(
    *,
    job_id: JobIdPart,
    caller: CallerPart,
    wanted: Annotated[Wanted, Query()],
    sessions: SessionsPart,
    # the contract says by the types of the answer what can be accepted
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """Every row of `[start, stop)`, or a view of at most `points` rows that keeps the extremes."""
    media = formats.media(accept)
    if media is None:
        raise NotAcceptableError(f"series are served as {', '.join(formats.SERVED)}")
    names_of(wanted.names)  # what is wrong is told before that nothing has changed
    streamed = media != formats.JSON and wanted.points is None
    with sessions.read() as tx:
        job = jobs.get(tx, job_id, owner=caller.owner)
        headers = {"ETag": etag_of_series([job], formats.SHORT[media]), "Vary": "Accept"}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        rows = None if streamed else selected(tx, job_id, wanted, wanted.points)
        # what is streamed has sent its headers before its rows are read
        lost = _damaged(tx, job_id, wanted) if rows is None else rows.lost
    headers = marked(headers, lost)
    if rows is not None and media == formats.JSON:
        return Response(dumped(columns(job, rows)), headers=headers, media_type=media)
    metadata = {"damaged": orjson.dumps(described(lost)).decode()} if lost else {}
    if rows is not None:
        content = b"".join(formats.written([rows], media, metadata=metadata))
        return Response(content, headers=headers, media_type=media)
    pages = formats.written(_pages(sessions, job_id, wanted), media, metadata=metadata)
    return StreamingResponse(pages, headers=headers, media_type=media)


def marked(headers: Mapping[str, str], lost: Sequence[Damage]) -> dict[str, str]:
    """The headers of an answer, with what is missing.

    It has no ETag then: the rows come back with no new version, from a copy of the database.
    """
    if not lost:
        return dict(headers)
    kept = {name: value for name, value in headers.items() if name != "ETag"}
    return kept | {damage.HEADER: damage.header(lost)}


def described(lost: Sequence[Damage]) -> list[dict[str, Any]]:
    """The chunks that are missing, for an answer."""
    return [each.model_dump() for each in damage.told(lost)]


def _damaged(tx: ReadTx, job_id: str, wanted: Range) -> Sequence[Damage]:
    _, which = names_of(wanted.names)
    return series.damaged(
        tx, job_id, series=which, repeat=wanted.repeat, start=wanted.start, stop=wanted.stop
    )


def _pages(sessions: Sessions, job_id: str, wanted: Range) -> Iterator[Rows]:
    """All rows; what is wrong is known before anything is sent."""
    names, which = names_of(wanted.names)
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
    return map(_noted, itertools.chain([first], pages))


def _noted(page: Rows) -> Rows:
    damage.told(page.lost)
    return page


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
        "damaged": described(rows.lost),
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
    damaged: Annotated[
        list[DamageOut], Field(description="chunks that cannot be read, and are not in the figures")
    ]


@router.get(
    "/summary",
    operation_id="summarize_series",
    response_model=SummaryOut,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "nothing was added since the given ETag", "headers": HEADERS},
    },
)
def summary(
    job_id: JobIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """Count, ends and extremes of every recorded quantity, and the iterations of the extremes."""
    with sessions.read() as tx:
        job = jobs.get(tx, job_id, owner=caller.owner)
        headers = {"ETag": etag_of_series([job], "summary")}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        figures, lost = series.summary(tx, job_id)
    data = [FiguresOut.model_validate(each, from_attributes=True) for each in figures]
    told = SummaryOut(job=job.id, data=data, damaged=damage.told(lost))
    return Response(
        told.model_dump_json(), headers=marked(headers, lost), media_type="application/json"
    )
