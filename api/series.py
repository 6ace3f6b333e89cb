"""Recorded series, raw or reduced, as JSON or CSV."""

import io
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.parts import JobIdPart, SessionsPart
from api.problems import InvalidError, NotAcceptableError
from store import jobs, series
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


class Wanted(BaseModel):
    """Which rows of which series."""

    model_config = ConfigDict(extra="forbid")

    names: Annotated[str, Field(description="names of one series, by commas")] = "loss,lr"
    start: Annotated[int, Field(ge=0, le=LAST)] = 0
    stop: Annotated[int | None, Field(ge=0, le=LAST)] = None
    points: Annotated[
        int | None,
        Field(ge=MIN_POINTS, le=1_000_000, description="at most so many rows, extremes kept"),
    ] = None
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0


@router.get(
    "",
    response_model=SeriesOut,
    responses={200: {"content": {"text/csv": {}}}, 406: {"description": "neither JSON nor CSV"}},
)
def read(
    job_id: JobIdPart,
    wanted: Annotated[Wanted, Query()],
    sessions: SessionsPart,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Every row of `[start, stop)`, or a view of at most `points` rows that keeps the extremes."""
    media = _media(accept)
    names, which = _names(wanted.names)
    with sessions.read() as tx:
        job = jobs.get(tx, job_id)
        try:
            rows = series.read(
                tx,
                job_id,
                names,
                series=which,
                repeat=wanted.repeat,
                start=wanted.start,
                stop=wanted.stop,
                points=wanted.points,
            )
        except series.NotRecordedError as error:
            raise InvalidError.at("/names", str(error)) from error
    if media == "text/csv":
        return Response(_csv(rows), media_type=media)
    columns: dict[str, Any] = {"iteration": rows.iteration}
    # as doubles: the shortest digits of a float32 would read back as another double
    columns |= {name: values.astype(np.float64) for name, values in rows.columns.items()}
    bad = {name: rows.iteration[~np.isfinite(v)] for name, v in rows.columns.items()}
    body = {
        "job": job.id,
        "names": names,
        "total_points": rows.total,
        "returned": len(rows.iteration),
        "reduced": None if rows.bucket is None else {"method": "minmax", "bucket": rows.bucket},
        "next_start": rows.next_start,
        "complete": job.state.finished and not rows.cut,
        "columns": columns,
        "nonfinite": {name: where for name, where in bad.items() if len(where)},
    }
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
        media_type="application/json",
    )


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


@router.get("/summary")
def summary(job_id: JobIdPart, sessions: SessionsPart) -> SummaryOut:
    """Count, ends and extremes of every recorded quantity, and the iterations of the extremes."""
    with sessions.read() as tx:
        job = jobs.get(tx, job_id)
        figures = series.summary(tx, job_id)
    data = [FiguresOut.model_validate(each, from_attributes=True) for each in figures]
    return SummaryOut(job=job.id, data=data)


def _names(wanted: str) -> tuple[list[str], str]:
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


def _media(accept: str) -> str:
    """The first type the client names that is served; weights are ignored."""
    for each in (accept or "*/*").split(","):
        media = each.split(";")[0].strip().lower()
        if media == "text/csv":
            return media
        if media in {"*/*", "application/*", "application/json"}:
            return "application/json"
    raise NotAcceptableError("series are served as application/json and text/csv")


def _csv(rows: Rows) -> str:
    out = io.StringIO()
    out.write(",".join(["iteration", *rows.columns]) + "\n")
    columns = [rows.iteration.tolist(), *(v.tolist() for v in rows.columns.values())]
    out.writelines(",".join(map(repr, row)) + "\n" for row in zip(*columns, strict=True))
    return out.getvalue()
