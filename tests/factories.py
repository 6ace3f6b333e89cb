"""Specs and jobs for tests: what a test does not care about is filled in."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from pydantic import JsonValue
from sqlalchemy import update

from spec.access import ANYONE
from spec.jobs import JOB_SPEC, RangeTestSpec, TrainingSpec
from spec.states import Reason, State
from spec.sweeps import SweepSpec
from store import claims, jobs, leases, moves, recovery, sweep_moves, sweeps
from store.checkpoints import Saved
from store.chunks import Chunk, Column
from store.database import Sessions
from store.instants import from_now
from store.jobs import Job, Submission
from store.leases import Lease, Progress, Renewal
from store.sweeps import NewTrial, Sweep
from store.tables import jobs as table

LEASE = timedelta(seconds=60)

COMMON: dict[str, Any] = {
    "model": {"name": "mlp", "params": {"hidden": [16]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
}


def training_json(**changes: Any) -> dict[str, Any]:
    """A training as a client sends it."""
    return {
        "kind": "training",
        **COMMON,
        "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20},
        "length": {"iterations": 100},
        **changes,
    }


def range_test_json(**changes: Any) -> dict[str, Any]:
    """A range test as a client sends it."""
    return {
        "kind": "range_test",
        **COMMON,
        "range": {"start": 1e-5, "end": 10.0, "iterations": 100, "ramp": "exponential"},
        "repeats": 2,
        **changes,
    }


def spec(**changes: Any) -> RangeTestSpec | TrainingSpec:
    """A training, parsed."""
    return JOB_SPEC.validate_python(training_json(**changes))


def queued(sessions: Sessions, **changes: Any) -> Job:
    """A job in the queue."""
    with sessions.begin() as tx:
        return jobs.add(tx, spec(**changes))


def swept(
    sessions: Sessions,
    count: int,
    *,
    memory: dict[str, JsonValue] | None = None,
    job: dict[str, Any] | None = None,
    **fields: Any,
) -> Sweep:
    """A sweep over `count` seeds whose jobs are all queued; `fields` are of its spec."""
    template = training_json(**job or {})
    seeds = {"/seed": list(range(count))}
    body = SweepSpec.model_validate({"template": template, "space": seeds, **fields})
    with sessions.begin() as tx:
        sweep = sweeps.add(
            tx,
            body.model_dump(mode="json"),
            by=ANYONE,
            name=None,
            promised=count,
            parallel=None,
            one_for_one=False,
            ending=sweep_moves.DONE,
        )
        new = [
            Submission(JOB_SPEC.validate_python({**template, "seed": seed}))
            for seed in range(count)
        ]
        added = jobs.add_many(tx, new, by=ANYONE, sweep=sweep.id)
        chosen = [
            NewTrial(job.id, {"/seed": seed}, memory or {}, None, f"{seed:064}")
            for seed, job in enumerate(added)
        ]
        sweeps.add_trials(tx, sweep.id, chosen, first=0)
    return sweep


def claimed(sessions: Sessions, *, worker: str = "w1", lease: timedelta = LEASE) -> Lease:
    """The lease of the best job in the queue."""
    with sessions.begin() as tx:
        found = claims.claim(tx, worker=worker, queues=["default"], lease=lease)
    assert found is not None
    return found[1]


def prepared(sessions: Sessions, state: State) -> Lease:
    """A job in a state, and the lease it has or had."""
    job = queued(sessions)
    lease = Lease(job.id, 1, "w1")
    if state == State.QUEUED:
        return lease
    lease = claimed(sessions)
    with sessions.begin() as tx:
        match state:
            case State.PAUSED:
                moves.pause(tx, job.id)
                leases.hand_back(tx, lease)
            case State.SUCCEEDED:
                leases.succeed(tx, lease, {})
            case State.FAILED:
                leases.fail(tx, lease, Reason.CODE, "")
            case State.CANCELLED:
                leases.confirm_cancel(tx, lease)
    return lease


def stored(sessions: Sessions, job_id: str) -> Job:
    """The job as it is now."""
    with sessions.read() as tx:
        return jobs.get(tx, job_id)


def rows(start: int, stop: int, *, after: int = 0) -> Chunk:
    """Rows `[start, stop)` of a training, recorded after the checkpoint at `after`."""
    count = stop - start
    columns: dict[str, Column] = {"loss": np.ones(count, np.float32), "lr": np.ones(count)}
    return Chunk("train", 0, start, columns, after)


def saved(iteration: int, *, attempt: int = 1, lasting: bool = False) -> Saved:
    """A checkpoint whose file has just been written."""
    file = f"{attempt}-{iteration}.ckpt"
    return Saved(iteration, file, bytes=1, sha256="0" * 64, lasting=lasting)


def record(
    sessions: Sessions,
    lease: Lease,
    iteration: int,
    *new: Chunk,
    checkpoints: Sequence[Saved] = (),
) -> Renewal:
    """What becomes of a lease whose worker stores that the job is at `iteration`."""
    with sessions.begin() as tx:
        return leases.record(tx, [Progress(lease, iteration, new, checkpoints)], extend=LEASE)


def run_out(sessions: Sessions, *job_ids: str) -> None:
    """Lets the leases of jobs run out."""
    with sessions.begin() as tx:
        past = from_now(timedelta(seconds=-1))
        tx.execute(update(table).where(table.c.id.in_(job_ids)).values(lease_expires=past))


def expired(sessions: Sessions, *, max_crashes: int = 3) -> list[Job]:
    """The jobs that the reconciler has taken away from their workers."""
    with sessions.begin() as tx:
        return recovery.expire(tx, max_crashes=max_crashes)
