"""Specs and jobs for tests: what a test does not care about is filled in."""

from datetime import timedelta
from typing import Any

from spec.jobs import JOB_SPEC, RangeTestSpec, TrainingSpec
from store import claims, jobs
from store.database import Sessions
from store.jobs import Job
from store.leases import Lease

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


def claimed(sessions: Sessions, *, worker: str = "w1", lease: timedelta = LEASE) -> Lease:
    """The lease of the best job in the queue."""
    with sessions.begin() as tx:
        found = claims.claim(tx, worker=worker, queues=["default"], lease=lease)
    assert found is not None
    return found[1]


def stored(sessions: Sessions, job_id: str) -> Job:
    """The job as it is now."""
    with sessions.read() as tx:
        return jobs.get(tx, job_id)
