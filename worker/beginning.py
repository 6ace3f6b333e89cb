"""What a claimed job begins with: its spec, and the last checkpoint of its own or of another."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue, TypeAdapter

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import Reason
from store import checkpoints, jobs, leases
from store.checkpoints import Checkpoint, CheckpointNotFoundError
from store.database import Sessions
from store.files import Files
from store.jobs import Job
from store.leases import Lease
from worker.checkpoints import Content, DamagedError, OtherVersionError, load
from worker.engine import EngineError, Plan, State

log = logging.getLogger(__name__)


_BOUNDS: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])


class StorageError(Exception):
    """Checkpoints cannot be read now; they may be there."""


def specified(job: Job) -> RangeTestSpec | TrainingSpec:
    """The job's spec with the bounds that were taken from range tests as numbers.

    Raises:
        pydantic.ValidationError: it was stored by another version.
    """
    spec = jobs.spec_of(job)
    if not isinstance(spec, TrainingSpec) or job.resolved is None:
        return spec
    bounds = _BOUNDS.validate_python(job.resolved.get("bounds", {}))
    return spec.model_copy(update={"schedule": spec.schedule.with_rates(bounds)})


def resolved(job: Job, plan: Plan) -> dict[str, JsonValue]:
    """What a job's plan says of it; the bounds were resolved at its submission, all else now."""
    before = job.resolved or {}
    others = _other_packages(before, plan)
    return {
        **{name: before[name] for name in ("bounds",) if name in before},
        "schedule": None if plan.schedule is None else plan.schedule.model_dump(mode="json"),
        "iterations_per_epoch": plan.iterations_per_epoch,
        "warnings": [*plan.warnings, *(_goes_on(each) for each in others)],
        **plan.notes,
        **({"packages_before": others} if others else {}),
    }


def _other_packages(before: Mapping[str, JsonValue], plan: Plan) -> list[JsonValue]:
    """Versions of packages, each by name, that earlier attempts had and that this one has not."""
    if not plan.start or "packages" not in before:
        return []
    known = before.get("packages_before")
    others = list(known) if isinstance(known, list) else []
    if before["packages"] not in others:
        others.append(before["packages"])
    return [each for each in others if each != plan.notes.get("packages")]


def _goes_on(packages: JsonValue) -> str:
    named = packages.items() if isinstance(packages, dict) else ()
    versions = ", ".join(f"{name} {version}" for name, version in named)
    return f"an earlier attempt ran with {versions}: the job went on with another version"


@dataclass(frozen=True)
class Beginning:
    """What an attempt goes on from.

    Attributes:
        resume: the state of the job itself.
        extend: that of the training that it continues, where it has not got far enough for its own.
        after: the iteration of the job's own checkpoint, 0 without one.
        snapshots: what the job has kept until there.
    """

    resume: State | None = None
    extend: State | None = None
    after: int = 0
    snapshots: dict[int, str | None] = field(default_factory=dict)


def beginning(job: Job, lease: Lease, *, sessions: Sessions, files: Files) -> Beginning:
    """Read what a claimed job goes on from; what cannot be read is put into its history.

    Raises:
        EngineError: INVALID, a checkpoint is of another version, or that of the training which it
            continues is not there.
        LeaseLostError: the job is no longer this worker's.
        StorageError: the storage of checkpoints is away.
    """
    try:
        return _beginning(job, lease, sessions, files)
    except OtherVersionError as error:
        raise EngineError(Reason.INVALID, str(error)) from error
    except OSError as error:
        raise StorageError(f"checkpoints cannot be read: {error}") from error


def _beginning(job: Job, lease: Lease, sessions: Sessions, files: Files) -> Beginning:
    if job.checkpoint is not None:
        found = _own(job, lease, sessions, files)
        if found is not None:
            checkpoint, content = found
            return Beginning(
                resume=content.engine, after=checkpoint.iteration, snapshots=content.snapshots
            )
    if job.parent is not None:
        return Beginning(extend=_parents(job, sessions, files))
    return Beginning()


def _own(
    job: Job, lease: Lease, sessions: Sessions, files: Files
) -> tuple[Checkpoint, Content] | None:
    """The latest that can be read, and what it holds; later ones are forgotten."""
    with sessions.read() as tx:
        known = checkpoints.find(tx, job.id)
    found: tuple[Checkpoint, Content] | None = None
    wrong: list[str] = []
    for each in known:
        try:
            found = each, load(files, each)
            break
        except DamagedError as error:
            log.warning("checkpoint.unreadable job=%s %s", job.id, error)
            wrong.append(str(error))
    if wrong or found is None:
        with sessions.begin() as tx:
            leases.fall_back(tx, lease, to=found and found[0].iteration, detail="; ".join(wrong))
    return found


def _parents(job: Job, sessions: Sessions, files: Files) -> State:
    try:
        with sessions.read() as tx:
            checkpoint = checkpoints.get(tx, str(job.parent), job.parent_iteration)
        return load(files, checkpoint).engine
    except (CheckpointNotFoundError, DamagedError) as error:
        raise EngineError(
            Reason.INVALID,
            f"/from: {error}; where its job was deleted or has gone on since, submit this one anew"
            " with another checkpoint",
        ) from error
