"""What a client may ask of a job that it has submitted; each can be asked again without harm."""

from fastapi import APIRouter

from api.answers import JobOut
from api.idempotency import Responses
from api.parts import BrokerPart, CallerPart, JobIdPart, SessionsPart
from spec.states import State
from store import audit, moves

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

REFUSED: Responses = {409: {"description": "the state of the job does not allow it"}}


@router.post("/cancel", operation_id="cancel_job", responses=REFUSED)
def cancel(job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart) -> JobOut:
    """Cancels a job: a waiting or paused one at once, a running one within a heartbeat."""
    with sessions.begin() as tx:
        job = moves.cancel(tx, job_id, by=caller)
        audit.note(tx, caller, "cancel", job_id)
    return JobOut.of(job)


@router.post("/pause", operation_id="pause_job", responses=REFUSED)
def pause(job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart) -> JobOut:
    """Pauses a job: a waiting one at once, a running one within a heartbeat, at a checkpoint."""
    with sessions.begin() as tx:
        job = moves.pause(tx, job_id, by=caller)
        audit.note(tx, caller, "pause", job_id)
    return JobOut.of(job)


@router.post("/resume", operation_id="resume_job", responses=REFUSED)
def resume(
    job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart, broker: BrokerPart
) -> JobOut:
    """Lets a paused job go on from its checkpoint, or takes back that a running one is to pause."""
    with sessions.begin() as tx:
        job = moves.resume(tx, job_id, by=caller)
        audit.note(tx, caller, "resume", job_id)
    if job.state == State.QUEUED:
        broker.wake(job.queue, job.id)
    return JobOut.of(job)


@router.post("/retry", operation_id="retry_job", responses=REFUSED)
def retry(
    job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart, broker: BrokerPart
) -> JobOut:
    """Queues a failed or cancelled job again; it goes on from its last checkpoint."""
    with sessions.begin() as tx:
        job = moves.retry(tx, job_id, by=caller)
        audit.note(tx, caller, "retry", job_id)
    broker.wake(job.queue, job.id)
    return JobOut.of(job)
