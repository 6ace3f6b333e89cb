"""The workers of the pool."""

from collections.abc import Callable, Container, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.parts import CallerPart, SessionsPart, SettingsPart
from api.problems import NotFoundError
from spec.access import Caller
from spec.needs import Offer
from spec.settings import Settings
from store import audit, jobs, quarantine, workers
from store.database import ReadTx, Sessions, WriteTx
from store.workers import Worker

router = APIRouter(prefix="/v1/workers", tags=["workers"])


class QuarantineOut(BaseModel):
    """Why a device is given no jobs, and until when."""

    reason: str
    until: datetime


class WorkerOut(BaseModel):
    """One worker node."""

    name: str
    device: str
    state: Annotated[
        workers.WorkerState,
        Field(
            description="lost: not heard of for a whole lease; quarantined: given no jobs, since"
            " one after the other was lost on its device"
        ),
    ]
    quarantine: QuarantineOut | None
    job: Annotated[str | None, Field(description="where it is one of the caller's own")]
    queues: list[str]
    offer: Annotated[Offer | None, Field(description="what jobs may ask of it in `needs`")]
    versions: dict[str, str]
    started_at: datetime
    last_heartbeat: datetime

    @classmethod
    def of(cls, worker: Worker, visible: Container[str]) -> Self:
        """From the row; its job is told only where it is `visible`."""
        return cls(
            name=worker.name,
            device=worker.device,
            state=worker.state,
            quarantine=worker.quarantine
            and QuarantineOut.model_validate(worker.quarantine, from_attributes=True),
            job=worker.job_id if worker.job_id in visible else None,
            queues=list(worker.queues),
            offer=worker.offer,
            versions=worker.versions,
            started_at=worker.started_at,
            last_heartbeat=worker.seen_at,
        )


class WorkersOut(BaseModel):
    """Every worker that was seen within ten minutes."""

    data: list[WorkerOut]


@router.get("", operation_id="list_workers")
def find(caller: CallerPart, sessions: SessionsPart, settings: SettingsPart) -> WorkersOut:
    """Lists the workers with their device, state, current job and last heartbeat."""
    with sessions.read() as tx:
        return WorkersOut(data=_told(tx, caller, settings))


@router.post("/{name}/drain", operation_id="drain_worker")
def drain(
    name: str, caller: CallerPart, sessions: SessionsPart, settings: SettingsPart
) -> WorkerOut:
    """Asks a worker to finish its job and take no more: from now on it is given none."""
    return _done("drain", name, caller, sessions, settings)


@router.post("/{name}/undrain", operation_id="undrain_worker")
def undrain(
    name: str, caller: CallerPart, sessions: SessionsPart, settings: SettingsPart
) -> WorkerOut:
    """Asks a worker to take jobs again."""
    return _done("undrain", name, caller, sessions, settings)


@router.post("/{name}/release", operation_id="release_worker")
def release(
    name: str, caller: CallerPart, sessions: SessionsPart, settings: SettingsPart
) -> WorkerOut:
    """Ends the quarantine of a worker's device: nothing counts against it any more."""
    return _done("release", name, caller, sessions, settings)


VERBS: Mapping[str, Callable[[WriteTx, str], bool]] = {
    "drain": partial(workers.drain, asked=True),
    "undrain": partial(workers.drain, asked=False),
    "release": quarantine.release,
}


def _done(
    verb: str, name: str, caller: Caller, sessions: Sessions, settings: Settings
) -> WorkerOut:
    with sessions.begin() as tx:
        # what is no name is the name of no worker; databases need not see it
        if not (name.isprintable() and VERBS[verb](tx, name)):
            raise NotFoundError(
                f"there is no worker {ascii(name)[1:-1]}; GET /v1/workers lists them"
            )
        audit.note(tx, caller, verb, name)
        return next(worker for worker in _told(tx, caller, settings) if worker.name == name)


def _told(tx: ReadTx, caller: Caller, settings: Settings) -> list[WorkerOut]:
    found = workers.find(tx, lost_after=settings.lease)
    visible = jobs.owned(tx, caller.owner, [each.job_id for each in found if each.job_id])
    return [WorkerOut.of(each, visible) for each in found]
