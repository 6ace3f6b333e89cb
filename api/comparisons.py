"""Views of one series of many jobs in one answer, to be drawn beside each other."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.etags import etag_of_series, matches
from api.names import names_of
from api.parts import CallerPart, IfNoneMatchPart, SessionsPart, job_id_of
from api.problems import InvalidError
from api.series import HEADERS, Range, SeriesOut, columns, dumped, selected
from store import jobs
from store.views import MIN_POINTS

router = APIRouter(prefix="/v1/series", tags=["series"])

MOST = 50
"""Jobs in one answer."""


class Compared(Range):
    """Rows of which jobs."""

    jobs: Annotated[str, Field(description=f"ids by commas, at most {MOST}")]
    names: Annotated[str, Field(description="names of one series, by commas")] = "loss"
    points: Annotated[
        int, Field(ge=MIN_POINTS, le=5_000, description="at most so many rows of each job")
    ] = 500


class ComparisonOut(BaseModel):
    """What each job's own address answers, in the order that was asked for."""

    data: list[SeriesOut]


@router.get(
    "",
    operation_id="compare_series",
    response_model=ComparisonOut,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "nothing was added since the given ETag", "headers": HEADERS},
        404: {"description": "one of the jobs does not exist"},
    },
)
def compare(
    wanted: Annotated[Compared, Query()],
    caller: CallerPart,
    sessions: SessionsPart,
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """Views of at most `points` rows of each job, extremes kept."""
    ids = [job_id_of(each.strip()) for each in wanted.jobs.split(",")]
    ids = list(dict.fromkeys(ids))
    if len(ids) > MOST:
        raise InvalidError.at("/jobs", f"{len(ids)} jobs; at most {MOST} in one answer")
    names_of(wanted.names)  # what is wrong is told before that nothing has changed
    with sessions.read() as tx:
        found = [jobs.get(tx, each, owner=caller.owner) for each in ids]
        headers = {"ETag": etag_of_series(found, "views")}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        rows = [selected(tx, job.id, wanted, wanted.points) for job in found]
    data = [columns(job, each) for job, each in zip(found, rows, strict=True)]
    if any(each.lost for each in rows):
        del headers["ETag"]  # as of one job's series
    return Response(dumped({"data": data}), headers=headers, media_type="application/json")
