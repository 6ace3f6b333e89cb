"""One job from its claim to its end."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import torch
from pydantic import JsonValue, TypeAdapter

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.settings import Settings
from spec.states import Reason
from store import leases
from store.database import Sessions, Unavailable, WriteTx, describe
from store.jobs import Job
from store.leases import Lease, LeaseLostError
from worker import engine
from worker.engine import Block, EngineError, Event, Finished, Plan
from worker.pulse import Pulse, beating
from worker.recorder import Recorder

log = logging.getLogger(__name__)

End = Callable[[WriteTx], None]
"""The move that ends a job, to be made with its last rows in one transaction."""

_BOUNDS: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])
_DETAIL_LENGTH = 2000


def run(
    job: Job,
    lease: Lease,
    *,
    sessions: Sessions,
    settings: Settings,
    device: torch.device,
) -> bool:
    """Runs a claimed job to one of its ends; True when the node is shutting down."""
    with beating(sessions, lease, settings) as pulse:
        recorder = Recorder(sessions, lease, pulse, settings)
        events = engine.run(specified(job), device=device, data_dir=settings.data_dir)
        try:
            recorder.finish(_outcome(events, job, lease, recorder, pulse, sessions))
        except LeaseLostError as error:
            log.warning("job.lost job=%s attempt=%s %s", job.id, lease.attempt, error)
        return pulse.draining


def specified(job: Job) -> RangeTestSpec | TrainingSpec:
    """The job's spec with the bounds that were taken from range tests as numbers."""
    if not isinstance(job.spec, TrainingSpec) or job.resolved is None:
        return job.spec
    bounds = _BOUNDS.validate_python(job.resolved.get("bounds", {}))
    return job.spec.model_copy(update={"schedule": job.spec.schedule.with_bounds(bounds)})


def _outcome(
    events: Iterator[Event],
    job: Job,
    lease: Lease,
    recorder: Recorder,
    pulse: Pulse,
    sessions: Sessions,
) -> End:
    """Follows the engine to its end, and says which move that asks for."""
    try:
        return _follow(events, job, lease, recorder, pulse, sessions)
    except LeaseLostError:
        raise
    except EngineError as error:
        log.warning("job.failed job=%s reason=%s %s", lease.job_id, error.reason, error.detail)
        return _failing(lease, error.reason, error.detail)
    except Exception as error:
        log.exception("job.failed job=%s reason=%s", lease.job_id, Reason.CODE)
        return _failing(lease, Reason.CODE, f"{type(error).__name__}: {error}")


def _follow(
    events: Iterator[Event],
    job: Job,
    lease: Lease,
    recorder: Recorder,
    pulse: Pulse,
    sessions: Sessions,
) -> End:
    for event in events:
        match event:
            case Plan():
                _store_plan(event, job, lease, sessions)
            case Block():
                recorder.add(event)
            case Finished(result=result):
                log.info("job.succeeded job=%s", lease.job_id)
                return partial(leases.succeed, lease=lease, result=result)
        match pulse.stop:
            case "lost":
                raise LeaseLostError(f"{lease.job_id}: the lease was not renewed in time")
            case "cancelled":
                log.info("job.cancelled job=%s", lease.job_id)
                return partial(leases.confirm_cancel, lease=lease)
            case "draining":
                log.info("job.handed_back job=%s", lease.job_id)
                return partial(leases.hand_back, lease=lease)
            case None:
                pass
    raise RuntimeError("the engine ended without a result")


def _store_plan(plan: Plan, job: Job, lease: Lease, sessions: Sessions) -> None:
    schedule = None if plan.schedule is None else plan.schedule.model_dump(mode="json")
    resolved: dict[str, JsonValue] = {
        **(job.resolved or {}),
        "schedule": schedule,
        "iterations_per_epoch": plan.iterations_per_epoch,
        **plan.notes,
    }
    try:
        with sessions.begin() as tx:
            leases.plan(tx, lease, iterations=plan.iterations, resolved=resolved)
    except Unavailable as error:  # the job can do without; its rows will be tried again
        log.warning("job.plan_failed job=%s %s", lease.job_id, describe(error))


def _failing(lease: Lease, reason: Reason, detail: str) -> End:
    # PostgreSQL takes no NUL in a text
    text = detail.replace("\x00", "")[:_DETAIL_LENGTH]
    return partial(leases.fail, lease=lease, reason=reason, detail=text)
