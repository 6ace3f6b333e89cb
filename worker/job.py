"""One job from its claim to its end."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.settings import Settings
from spec.states import Reason
from store import jobs, leases
from store.database import Sessions, Unavailable, WriteTx, describe
from store.jobs import Job
from store.leases import Lease, LeaseLostError
from worker import engine, snapshots
from worker.drain import Drain
from worker.engine import Block, EngineError, Event, Finished, Plan, Snapshot
from worker.pulse import Pulse, beating
from worker.recorder import Recorder

log = logging.getLogger(__name__)

End = Callable[[WriteTx], None]
"""The move that ends a job, to be made with its last rows in one transaction."""

_BOUNDS: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])
_DETAIL_LENGTH = 2000


@dataclass(frozen=True)
class _Run:
    """What one run of a job needs at every step."""

    job: Job
    lease: Lease
    sessions: Sessions
    pulse: Pulse
    recorder: Recorder
    settings: Settings
    device: torch.device
    files: dict[int, str | None] = field(default_factory=dict)
    """Iteration -> where its snapshot is, from the data directory; None where it was not kept."""


def run(
    job: Job,
    lease: Lease,
    *,
    sessions: Sessions,
    settings: Settings,
    device: torch.device,
    drain: Drain,
) -> None:
    """Runs a claimed job to one of its ends."""
    with beating(sessions, lease, settings, drain) as pulse:
        recorder = Recorder(sessions, lease, pulse, settings)
        this = _Run(job, lease, sessions, pulse, recorder, settings, device)
        try:
            recorder.finish(_outcome(this))
        except LeaseLostError as error:
            log.warning("job.lost job=%s attempt=%s %s", job.id, lease.attempt, error)


def specified(job: Job) -> RangeTestSpec | TrainingSpec:
    """The job's spec with the bounds that were taken from range tests as numbers."""
    spec = jobs.spec_of(job)
    if not isinstance(spec, TrainingSpec) or job.resolved is None:
        return spec
    bounds = _BOUNDS.validate_python(job.resolved.get("bounds", {}))
    return spec.model_copy(update={"schedule": spec.schedule.with_rates(bounds)})


def _outcome(this: _Run) -> End:
    """Follows the engine to its end, and says which move that asks for."""
    try:
        spec = specified(this.job)
        return _follow(
            this,
            engine.run(spec, device=this.device, data_dir=this.settings.data_dir),
        )
    except LeaseLostError:
        raise
    except ValidationError as error:
        log.warning("job.failed job=%s reason=%s %s", this.job.id, Reason.INVALID, error)
        return _failing(this.lease, Reason.INVALID, f"this version cannot read the spec: {error}")
    except EngineError as error:
        trace = error if error.reason is Reason.CODE else None
        log.warning(
            "job.failed job=%s reason=%s %s",
            this.job.id,
            error.reason,
            error.detail,
            exc_info=trace,
        )
        return _failing(this.lease, error.reason, error.detail)
    except Exception as error:
        log.exception("job.failed job=%s reason=%s", this.job.id, Reason.CODE)
        return _failing(this.lease, Reason.CODE, f"{type(error).__name__}: {error}")


def _follow(this: _Run, events: Iterator[Event]) -> End:
    job, lease = this.job, this.lease
    for event in events:
        match event:
            case Plan():
                _store_plan(this, event)
            case Block():
                this.recorder.add(event)
            case Snapshot() if not this.pulse.lost:  # a deleted job's folder must not come back
                this.files[event.iteration] = _kept(this, event)
            case Finished(result=result):
                log.info("job.succeeded job=%s", job.id)
                with_files = _with_files(result, this.files)
                return partial(leases.succeed, lease=lease, result=with_files)
        match this.pulse.stop:
            case "lost":
                raise LeaseLostError(f"{job.id}: the lease was not renewed in time")
            case "cancelled":
                log.info("job.cancelled job=%s", job.id)
                return partial(leases.confirm_cancel, lease=lease)
            case "draining":
                log.info("job.handed_back job=%s", job.id)
                return partial(leases.hand_back, lease=lease)
            case None:
                pass
    raise RuntimeError("the engine ended without a result")


def _store_plan(this: _Run, plan: Plan) -> None:
    schedule = None if plan.schedule is None else plan.schedule.model_dump(mode="json")
    resolved: dict[str, JsonValue] = {
        **(this.job.resolved or {}),
        "schedule": schedule,
        "iterations_per_epoch": plan.iterations_per_epoch,
        **plan.notes,
    }
    if plan.schedule is not None:
        resolved["warnings"] = list(plan.warnings)
    try:
        with this.sessions.begin() as tx:
            leases.plan(tx, this.lease, iterations=plan.iterations, resolved=resolved)
    except Unavailable as error:  # the job can do without; its rows will be tried again
        log.warning("job.plan_failed job=%s %s", this.job.id, describe(error))


def _kept(this: _Run, snapshot: Snapshot) -> str | None:
    """Where the snapshot is now, or None: a training is worth more than its copies."""
    try:
        path = snapshots.save(
            this.settings.snapshots(this.job.id), snapshot.iteration, snapshot.weights
        )
    except OSError as error:
        log.warning("job.snapshot_failed job=%s %s", this.job.id, error)
        return None
    return path.relative_to(this.settings.data_dir).as_posix()


def _with_files(
    result: dict[str, JsonValue], files: Mapping[int, str | None]
) -> dict[str, JsonValue]:
    """The result with the file of each snapshot, and a warning where one has none."""
    if not files:
        return result
    taken = cast("list[dict[str, JsonValue]]", result["snapshots"])
    filled: list[JsonValue] = [
        {**each, "file": files[cast("int", each["iteration"])]} for each in taken
    ]
    result = {**result, "snapshots": filled}
    if lost := [str(iteration) for iteration, file in files.items() if file is None]:
        which = ", ".join(lost)
        warning = f"the snapshots at {which} could not be written; the worker's log says why"
        result["warnings"] = [warning]
    return result


def _failing(lease: Lease, reason: Reason, detail: str) -> End:
    # PostgreSQL takes no NUL in a text
    text = detail.replace("\x00", "")[:_DETAIL_LENGTH]
    return partial(leases.fail, lease=lease, reason=reason, detail=text)
