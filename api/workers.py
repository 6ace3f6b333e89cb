"""The workers of the pool."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.parts import SessionsPart, SettingsPart
from store import workers

router = APIRouter(prefix="/v1/workers", tags=["workers"])


class WorkerOut(BaseModel):
    """One worker node."""

    name: str
    device: str
    state: Annotated[
        workers.WorkerState,
        Field(description="lost: not heard of for a whole lease"),
    ]
    job: str | None
    queues: list[str]
    versions: dict[str, str]
    started_at: datetime
    last_heartbeat: datetime


class WorkersOut(BaseModel):
    """Every worker that was seen within ten minutes."""

    data: list[WorkerOut]


@router.get("")
def find(sessions: SessionsPart, settings: SettingsPart) -> WorkersOut:
    """Lists the workers with their device, state, current job and last heartbeat."""
    with sessions.read() as tx:
        found = workers.find(tx, lost_after=settings.lease)
    return WorkersOut(
        data=[
            WorkerOut(
                name=worker.name,
                device=worker.device,
                state=worker.state,
                job=worker.job_id,
                queues=list(worker.queues),
                versions=worker.versions,
                started_at=worker.started_at,
                last_heartbeat=worker.seen_at,
            )
            for worker in found
        ],
    )
