"""Follow jobs live: one or many on a stream of server-sent events."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.names import names_of
from api.parts import CallerPart, JobIdPart, job_id_of
from api.positions import ForeignIdError, Position, Topic
from api.problems import AwayError, InvalidError
from api.series import LAST
from api.streams import MOST as MOST_STREAMS
from api.streams import Stream, Streams
from spec.access import Caller
from store import jobs, series
from store.database import Sessions
from store.jobs import JobNotFoundError

router = APIRouter(prefix="/v1", tags=["events"])

MOST = 100
"""Jobs on one stream."""


class Told(BaseModel):
    """Which rows are told as they come."""

    model_config = ConfigDict(extra="forbid")

    names: Annotated[
        str, Field(description="names of one series, by commas; none for states alone")
    ] = "loss,lr"
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    start: Annotated[int, Field(ge=0, le=LAST, description="the first iteration to be told of")] = 0


class ToldOfMany(Told):
    """Rows of which jobs."""

    jobs: Annotated[str, Field(description=f"ids by commas, at most {MOST}")]


async def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


StreamsPart = Annotated[Streams, Depends(_streams)]

LastId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="the `id` of the last event that arrived: go on after it",
    ),
]

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "events `state`, `points` and `end`, each with an `id`",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "all was told up to the end, and nothing happened since"},
    404: {"description": "there is no such job"},
    503: {"description": "too many streams are open here"},
}


@router.get(
    "/jobs/{job_id}/events",
    operation_id="follow_job",
    response_class=StreamingResponse,
    responses=STREAM,
)
async def follow(
    job_id: JobIdPart,
    wanted: Annotated[Told, Query()],
    caller: CallerPart,
    streams: StreamsPart,
    last_event_id: LastId = "",
) -> Response:
    """The job at every change, and its rows; it closes once the job has ended and all was sent."""
    return await _stream(streams, caller, _topic([job_id], wanted), wanted.start, last_event_id)


@router.get(
    "/events", operation_id="follow_jobs", response_class=StreamingResponse, responses=STREAM
)
async def follow_many(
    wanted: Annotated[ToldOfMany, Query()],
    caller: CallerPart,
    streams: StreamsPart,
    last_event_id: LastId = "",
) -> Response:
    """The same of up to 100 jobs; it closes once all have ended."""
    ids = [job_id_of(each.strip()) for each in wanted.jobs.split(",")]
    ids = list(dict.fromkeys(ids))
    if len(ids) > MOST:
        raise InvalidError.at("/jobs", f"{len(ids)} jobs; at most {MOST} on one stream")
    topic = _topic(ids, wanted, many=True)
    return await _stream(streams, caller, topic, wanted.start, last_event_id)


def _topic(ids: list[str], wanted: Told, *, many: bool = False) -> Topic:
    names, which = names_of(wanted.names) if wanted.names else ([], "")
    return Topic(tuple(ids), tuple(names), which, wanted.repeat, many)


async def _stream(
    streams: Streams, caller: Caller, topic: Topic, start: int, last_id: str
) -> Response:
    """The stream from its beginning, or from after the last event that arrived.

    Whatever is wrong is found before anything is sent.
    """
    try:
        told = topic.positions(last_id) if last_id else {}
        versions = await run_in_threadpool(_versions, streams.frames.sessions, caller, topic.jobs)
        _check(topic, told, versions)
    except ForeignIdError as error:
        detail = f"{error}: leave it out to begin anew"
        raise InvalidError.at("/Last-Event-ID", detail) from error
    if told and all(
        here.ended and versions[job_id] in {here.version, None} for job_id, here in told.items()
    ):
        return Response(status_code=204)  # which tells an EventSource to stop
    at = told or {job_id: Position(start=start) for job_id in topic.jobs}
    for job_id, version in versions.items():
        if version is not None:
            try:
                await streams.frames.after(topic.place(job_id, at[job_id].start, version))
            except series.NotRecordedError as error:
                raise InvalidError.at("/names", f"{job_id}: {error}") from error
    if streams.full:
        raise AwayError(f"{MOST_STREAMS} streams are open here, and no more are served at once")
    return Stream(streams, topic, at, versions)


def _versions(sessions: Sessions, caller: Caller, ids: tuple[str, ...]) -> dict[str, int | None]:
    """The versions of the jobs that the caller may read; None where there is no such job.

    Every stream begins here: nothing is told of a job that was not found here.
    """
    found: dict[str, int | None] = {}
    with sessions.read() as tx:
        for job_id in ids:
            try:
                found[job_id] = jobs.get(tx, job_id, owner=caller.owner).version
            except JobNotFoundError:
                found[job_id] = None
    return found


def _check(topic: Topic, told: dict[str, Position], versions: dict[str, int | None]) -> None:
    for job_id, version in versions.items():
        # on a stream of many, those that were deleted meanwhile do not end the others
        if version is None and not (told and topic.many):
            raise JobNotFoundError(job_id)
        if version is not None and told and told[job_id].version > version:
            raise ForeignIdError("it names a version that the job has not reached")
