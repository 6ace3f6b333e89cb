"""Submit, find and control jobs."""

import logging
import shutil
from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from api import bounds, components
from api.examples import JOBS
from api.parts import BrokerPart, JobIdPart, SessionsPart, SettingsPart
from spec.jobs import JobSpec, TrainingSpec
from spec.states import Reason, State
from spec.values import JobId, Text
from store import jobs
from store.jobs import Job

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class Progress(BaseModel):
    """How far a job is; `iterations` is null until a worker knows the size of an epoch."""

    iteration: int
    iterations: int | None


class Failure(BaseModel):
    """Why a job failed."""

    reason: Reason
    detail: str


class JobOut(BaseModel):
    """A job as clients see it."""

    id: str
    kind: str
    state: State
    name: str | None
    spec: Annotated[
        dict[str, JsonValue],
        Field(description="as it was submitted, with every default filled in"),
    ]
    resolved: Annotated[
        dict[str, JsonValue] | None,
        Field(description="the schedule in numbers: bounds from range tests, epochs in iterations"),
    ]
    warnings: Annotated[
        list[str],
        Field(description="what is odd about the job; complete once it has been planned"),
    ]
    progress: Progress
    result: dict[str, JsonValue] | None
    error: Failure | None
    attempt: int
    cancel_requested: bool
    worker: str | None
    sweep: str | None = None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """From the row."""
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            name=job.name,
            spec=job.spec,
            resolved=job.resolved,
            warnings=(job.resolved or {}).get("warnings", []),
            progress=Progress(iteration=job.iteration, iterations=job.iterations),
            result=job.result,
            error=job.reason and Failure(reason=job.reason, detail=job.detail or ""),
            attempt=job.attempt,
            cancel_requested=job.cancel_requested,
            worker=job.lease_owner,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class JobsOut(BaseModel):
    """One page of jobs, newest first."""

    data: list[JobOut]
    next_cursor: Annotated[
        str | None,
        Field(description="pass as `cursor` for the next page; null on the last"),
    ]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("text", "must be printable")
    return text


class Filters(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: list[State] = Field(default=[], description="any of these")
    kind: Literal["range_test", "training"] | None = None
    name: Text | None = None
    tag: list[Annotated[str, Field(pattern=":"), AfterValidator(_printable)]] = Field(
        default=[],
        description="key:value; all of these",
    )
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str | None, Field(pattern=r"^job_[0-9a-z]{1,60}$")] = None


@router.post("", status_code=201)
def submit(
    spec: Annotated[JobSpec, Body(openapi_examples=JOBS)],
    response: Response,
    sessions: SessionsPart,
    broker: BrokerPart,
) -> JobOut:
    """Submits a range test or a training."""
    components.check(spec)
    with sessions.begin() as tx:
        if isinstance(spec, TrainingSpec):
            numbers = bounds.taken(tx, spec.schedule)
            job = jobs.add(tx, spec, bounds=numbers, warnings=spec.warnings())
        else:
            job = jobs.add(tx, spec)
    broker.wake(job.queue, job.id)  # after commit; losing it costs seconds, never the job
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobOut.of(job)


@router.get("")
def find(
    filters: Annotated[Filters, Query()],
    request: Request,
    response: Response,
    sessions: SessionsPart,
) -> JobsOut:
    """Lists jobs, newest first."""
    with sessions.read() as tx:
        found = jobs.find(
            tx,
            states=filters.state,
            kind=filters.kind,
            name=filters.name,
            tags=[(key, value) for key, _, value in (tag.partition(":") for tag in filters.tag)],
            before=filters.cursor,
            limit=filters.limit + 1,
        )
    page, more = found[: filters.limit], found[filters.limit :]
    cursor = page[-1].id if more else None
    if cursor:
        following = request.url.include_query_params(cursor=cursor)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return JobsOut(data=[JobOut.of(job) for job in page], next_cursor=cursor)


@router.get("/{job_id}", responses={304: {"description": "not changed since the given ETag"}})
def get(
    job_id: JobIdPart,
    response: Response,
    sessions: SessionsPart,
    if_none_match: Annotated[str | None, Header()] = None,
) -> JobOut:
    """One job; its weak ETag changes whenever anything in the answer does."""
    with sessions.read() as tx:
        job = jobs.get(tx, job_id)
    etag = f'W/"{job.version}"'
    if _matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})  # type: ignore[return-value]  # FastAPI passes a Response on as it is
    response.headers["ETag"] = etag
    return JobOut.of(job)


def _matches(if_none_match: str | None, etag: str) -> bool:
    """The weak comparison of RFC 9110: only what stands between the quotes counts."""
    given = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given


@router.post("/{job_id}/cancel")
def cancel(job_id: JobIdPart, sessions: SessionsPart) -> JobOut:
    """Cancels a job: a waiting one at once, a running one within a heartbeat."""
    with sessions.begin() as tx:
        return JobOut.of(jobs.cancel(tx, job_id))


@router.post("/{job_id}/retry")
def retry(job_id: JobIdPart, sessions: SessionsPart, broker: BrokerPart) -> JobOut:
    """Queues a failed or cancelled job again."""
    with sessions.begin() as tx:
        job = jobs.retry(tx, job_id)
    broker.wake(job.queue, job.id)
    return JobOut.of(job)


@router.delete("/{job_id}", status_code=204)
def delete(job_id: JobIdPart, sessions: SessionsPart, settings: SettingsPart) -> None:
    """Deletes a finished job with its series, and its snapshots where the API sees them."""
    with sessions.begin() as tx:
        jobs.remove(tx, job_id)
    folder = settings.snapshots(JobId(job_id))
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:  # the job is gone all the same
        log.warning("job.snapshots_left job=%s %s", job_id, error)
