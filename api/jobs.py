"""Submit, find and control jobs."""

import logging
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api import components, preferences, submission
from api.answers import (
    AttemptOut,
    ChangeOut,
    JobDetailOut,
    JobOut,
    JobPreviewOut,
    JobsOut,
    WaitingOut,
)
from api.etags import etag_of, etag_of_page, knows, matches
from api.examples import JOBS
from api.idempotency import ONE_CREATED, OncePart
from api.parts import (
    BrokerPart,
    CallerPart,
    CataloguePart,
    ChangesPart,
    FilesPart,
    IfNoneMatchPart,
    JobIdPart,
    PreferPart,
    SessionsPart,
    SettingsPart,
)
from api.previews import of_job
from spec.access import Caller
from spec.jobs import TAG, JobSpec
from spec.states import FINISHED, State
from spec.values import JobId, Text
from store import audit, history, jobs, pages, waiting
from store.database import Sessions
from store.files import Directory
from store.jobs import Job

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def _described(headers: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"schema": {"type": "string"}, "description": description}
        for name, description in headers.items()
    }


LIST_HEADERS = _described(
    {
        "ETag": "weak; of the ids and versions of the jobs",
        "Link": '`rel="next"`: the next page, where there is one',
    }
)
HEADERS = _described(
    {
        "ETag": "weak; of the job's version, and of why it waits",
        "Preference-Applied": "`wait=N`, where that was asked for",
    }
)

LATEST = 500
"""So many attempts and changes of a job are told."""


class Filters(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: list[State] = Field(default=[], description="any of these")
    kind: Literal["range_test", "training"] | None = None
    sweep: Annotated[str | None, Field(pattern=r"^swp_[0-9a-z]{1,60}$")] = None
    name: Text | None = None
    q: Annotated[Text | None, Field(description="in the name, in letters of either case")] = None
    tag: list[Annotated[str, Field(pattern=TAG)]] = Field(
        default=[], description="key:value; all of these"
    )
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str | None, Field(pattern=r"^job_[0-9a-z]{1,60}$")] = None


@router.post(
    "",
    operation_id="submit_job",
    status_code=201,
    response_model=JobOut,
    responses=ONE_CREATED,
)
def submit(
    *,
    spec: Annotated[JobSpec, Body(openapi_examples=JOBS)],
    caller: CallerPart,
    once: OncePart,
    sessions: SessionsPart,
    broker: BrokerPart,
    catalogue: CataloguePart,
) -> Response:
    """Submits a range test or a training; with an Idempotency-Key, once."""
    required = components.check(spec, catalogue)
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        submission.admit(tx, by=caller)
        job = submission.queue(tx, spec, by=caller, components=required)
        audit.note(tx, caller, "submit", job.id)
        answer = once.created(tx, JobOut.of(job), location=f"/v1/jobs/{job.id}")
    broker.wake(job.queue, job.id)  # after commit; losing it costs seconds, never the job
    return answer


@router.post("/preview", operation_id="preview_job")
def preview(
    body: Annotated[dict[str, Any], Body(openapi_examples=JOBS)],
    caller: CallerPart,
    sessions: SessionsPart,
    catalogue: CataloguePart,
) -> JobPreviewOut:
    """Whether a job would be taken, what is wrong with it, and what it costs; nothing is stored."""
    with sessions.read() as tx:
        return of_job(tx, body, catalogue, by=caller)


@router.get(
    "",
    operation_id="list_jobs",
    response_model=JobsOut,
    responses={
        200: {"headers": LIST_HEADERS},
        304: {"description": "not changed since the given ETag", "headers": LIST_HEADERS},
    },
)
def find(
    filters: Annotated[Filters, Query()],
    request: Request,
    caller: CallerPart,
    sessions: SessionsPart,
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """Lists jobs, newest first; the weak ETag changes whenever anything in the answer does."""
    with sessions.read() as tx:
        found = pages.find(
            tx,
            owner=caller.owner,
            sweep=filters.sweep,
            states=filters.state,
            kind=filters.kind,
            name=filters.name,
            named_like=filters.q,
            tags=[(key, value) for key, _, value in (tag.partition(":") for tag in filters.tag)],
            before=filters.cursor,
            limit=filters.limit + 1,
        )
    page, more = found[: filters.limit], found[filters.limit :]
    cursor = page[-1].id if more else None
    headers = {"ETag": etag_of_page(page, cursor)}
    if cursor:
        following = request.url.include_query_params(cursor=cursor)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    told = JobsOut(data=[JobOut.of(job) for job in page], next_cursor=cursor)
    return Response(told.model_dump_json(), 200, headers, media_type="application/json")


@router.get(
    "/{job_id:job}",
    operation_id="get_job",
    response_model=JobDetailOut,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "not changed since the given ETag", "headers": HEADERS},
    },
)
async def get(
    *,
    job_id: JobIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    settings: SettingsPart,
    changes: ChangesPart,
    if_none_match: IfNoneMatchPart = None,
    prefer: PreferPart = [],  # noqa: B006 - FastAPI's way to say it, never changed
) -> Response:
    """One job with its history; its weak ETag changes whenever anything in the answer does.

    With `Prefer: wait=N` the answer comes when the job has changed: from the version of the ETag
    in If-None-Match, without one from what it is now, where it has not finished.
    """
    seconds = preferences.wait(prefer)
    headers = {}
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        job = await run_in_threadpool(_job, sessions, caller, job_id)
        known = knows(if_none_match, job)
        if known or (if_none_match is None and job.state not in FINISHED):
            await changes.wait({job_id: job.version}, within=seconds)
    return await run_in_threadpool(
        _told, sessions, caller, job_id, if_none_match, headers, lost_after=settings.lease
    )


def _job(sessions: Sessions, caller: Caller, job_id: str) -> Job:
    with sessions.read() as tx:
        return jobs.get(tx, job_id, owner=caller.owner)


def _told(
    sessions: Sessions,
    caller: Caller,
    job_id: str,
    if_none_match: str | None,
    headers: dict[str, str],
    *,
    lost_after: timedelta,
) -> Response:
    with sessions.read() as tx:
        job = jobs.get(
            tx, job_id, owner=caller.owner
        )  # first: what is newer than its version is only told again
        why = waiting.waiting(tx, job, lost_after=lost_after)
        etag = etag_of(job, why)
        headers = {"ETag": etag, **headers}
        if matches(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        attempts = history.attempts_of(tx, job_id, limit=LATEST)
        changes = history.changes(tx, job_id, limit=LATEST)
    told = JobDetailOut.of(
        job,
        request=job.request,
        waiting=why and WaitingOut.model_validate(why, from_attributes=True),
        attempts=[AttemptOut.model_validate(each, from_attributes=True) for each in attempts],
        history=[ChangeOut.model_validate(each, from_attributes=True) for each in changes],
    )
    return Response(told.model_dump_json(), 200, headers, media_type="application/json")


@router.delete(
    "/{job_id:job}",
    operation_id="delete_job",
    status_code=204,
    responses={
        204: {"description": "it is gone"},
        409: {
            "description": "it has not finished, or another job is to begin with a checkpoint of it"
        },
    },
)
def delete(
    job_id: JobIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    settings: SettingsPart,
    files: FilesPart,
) -> None:
    """Deletes a finished job with its series, and its files where the API sees them."""
    with sessions.begin() as tx:
        jobs.remove(tx, job_id, by=caller)
        audit.note(tx, caller, "delete", job_id)
    snapshots = Directory(settings.snapshots(JobId(job_id)))
    for place, folder in ((files, job_id), (snapshots, "")):
        try:
            place.remove_folder(folder)
        except OSError as error:  # the job is gone all the same
            log.warning("job.files_left job=%s %s", job_id, error)
