"""Submit, find and control jobs."""

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api import components, submission
from api.answers import AttemptOut, ChangeOut, JobDetailOut, JobOut, JobsOut
from api.etags import matches
from api.examples import JOBS
from api.idempotency import RESPONSES, OncePart
from api.parts import BrokerPart, FilesPart, JobIdPart, SessionsPart, SettingsPart
from spec.jobs import JobSpec
from spec.states import State
from spec.values import JobId, Text
from store import history, jobs
from store.files import Directory

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LATEST = 500
"""So many attempts and changes of a job are told."""


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


@router.post("", status_code=201, response_model=JobOut, responses=RESPONSES)
def submit(
    spec: Annotated[JobSpec, Body(openapi_examples=JOBS)],
    once: OncePart,
    sessions: SessionsPart,
    broker: BrokerPart,
) -> Response:
    """Submits a range test or a training; with an Idempotency-Key, once."""
    components.check(spec)
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        job = submission.queue(tx, spec)
        answer = once.created(tx, JobOut.of(job), location=f"/v1/jobs/{job.id}")
    broker.wake(job.queue, job.id)  # after commit; losing it costs seconds, never the job
    return answer


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
) -> JobDetailOut:
    """One job with its history; its weak ETag changes whenever anything in the answer does."""
    with sessions.read() as tx:
        job = jobs.get(tx, job_id)  # first: what is newer than its version is only told again
        etag = f'W/"{job.version}"'
        if matches(if_none_match, etag):
            return Response(status_code=304, headers={"ETag": etag})  # type: ignore[return-value]  # FastAPI passes a Response on as it is
        attempts = history.attempts_of(tx, job_id, limit=LATEST)
        changes = history.changes(tx, job_id, limit=LATEST)
    response.headers["ETag"] = etag
    return JobDetailOut.of(
        job,
        attempts=[AttemptOut.model_validate(each, from_attributes=True) for each in attempts],
        history=[ChangeOut.model_validate(each, from_attributes=True) for each in changes],
    )


@router.delete("/{job_id}", status_code=204)
def delete(
    job_id: JobIdPart, sessions: SessionsPart, settings: SettingsPart, files: FilesPart
) -> None:
    """Deletes a finished job with its series, and its files where the API sees them."""
    with sessions.begin() as tx:
        jobs.remove(tx, job_id)
    snapshots = Directory(settings.snapshots(JobId(job_id)))
    for place, folder in ((files, job_id), (snapshots, "")):
        try:
            place.remove_folder(folder)
        except OSError as error:  # the job is gone all the same
            log.warning("job.files_left job=%s %s", job_id, error)
