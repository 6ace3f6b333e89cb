"""Submit many jobs with one request: all of them, or none."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from api import components, submission
from api.answers import JobOut
from api.idempotency import MANY_CREATED, OncePart
from api.parts import BrokerPart, CallerPart, CataloguePart, SessionsPart
from api.problems import FieldError, InvalidError
from spec.jobs import JobSpec
from store import audit

router = APIRouter(tags=["jobs"])

MOST = 1000
"""Jobs of one request."""

WAKE_UPS = 100
"""Workers of a queue that one request wakes; the reconciler wakes more while jobs wait."""


class BatchSpec(BaseModel):
    """Jobs that are submitted together."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobSpec], Field(min_length=1, max_length=MOST)]


class BatchOut(BaseModel):
    """The jobs, in the order in which they were sent."""

    data: list[JobOut]


@router.post(
    "/v1/jobs:batch",
    operation_id="submit_jobs",
    status_code=201,
    response_model=BatchOut,
    responses=MANY_CREATED,
)
def submit(
    *,
    batch: BatchSpec,
    caller: CallerPart,
    once: OncePart,
    sessions: SessionsPart,
    broker: BrokerPart,
    catalogue: CataloguePart,
) -> Response:
    """Submits up to 1,000 jobs: all of them, or none where one is refused."""
    wrong: list[FieldError] = []
    required: list[Sequence[str]] = []
    for number, spec in enumerate(batch.jobs):
        with _gathered(wrong, number):
            required.append(components.check(spec, catalogue))
    if wrong:
        raise InvalidError(wrong)
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        submission.admit(tx, by=caller)
        jobs = []
        for number, spec in enumerate(batch.jobs):
            with _gathered(wrong, number):
                own = required[number]
                jobs.append(submission.queue(tx, spec, by=caller, components=own))
        if wrong:
            raise InvalidError(wrong)
        audit.note(tx, caller, "submit", f"{len(jobs)} jobs from {jobs[0].id} to {jobs[-1].id}")
        answer = once.created(tx, BatchOut(data=[JobOut.of(job) for job in jobs]))
    woken: Counter[str] = Counter()
    for job in jobs:
        woken[job.queue] += 1
        if woken[job.queue] <= WAKE_UPS:
            broker.wake(job.queue, job.id)
    return answer


@contextmanager
def _gathered(wrong: list[FieldError], number: int) -> Iterator[None]:
    """Lets the next jobs be looked at too, so that a client is told of everything at once."""
    try:
        yield
    except InvalidError as error:
        wrong += error.under(f"/jobs/{number}")
