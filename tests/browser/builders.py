"""Jobs with curves, as the pages of the dashboard need them."""

from typing import Any

import numpy as np
from pydantic import JsonValue

from spec.jobs import JOB_SPEC
from store import jobs, leases
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Progress
from tests.factories import LEASE, claimed, queued, range_test_json

SUGGESTION = {"base_lr": 0.0421, "max_lr": 0.1684, "fixed_lr": 0.0842}


def range_test(sessions: Sessions, *, repeats: int = 2, **changes: object) -> str:
    """A finished range test whose last repeat blew up to infinity and stopped."""
    spec = JOB_SPEC.validate_python(range_test_json(repeats=repeats, **changes))
    with sessions.begin() as tx:
        jobs.add(tx, spec)
    result = {"status": "ok", "suggestion": SUGGESTION, "agreement": "high"}
    result |= {"interval": {"max_lr": [0.12, 0.2]}, "compat": {"valley": 0.0093}}
    result |= {"landmarks": {"lr_edge": 0.34, "lr_ragged": None}}
    return climbed(sessions, result, repeats=repeats)


def climbed(sessions: Sessions, result: dict[str, Any], *, repeats: int = 1) -> str:
    """The best range test in the queue ends like this; its last repeat blew up."""
    lease = claimed(sessions)
    lr = np.geomspace(1e-5, 10, 100)
    loss = 0.6 + 1.7 / (1 + (lr / 0.01) ** 2) + np.expm1(np.minimum(lr**2, 80))
    with sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=repeats * 100, resolved={})
        for repeat in range(repeats):
            values = (loss + 0.01 * repeat).astype("f4")
            kept = slice(100) if repeat < repeats - 1 else slice(95)
            values[93:] = np.inf
            chunk = Chunk("train", repeat, 0, {"loss": values[kept], "lr": lr[kept]})
            leases.record(tx, [Progress(lease, 100 * repeat, [chunk])], extend=LEASE)
        leases.succeed(tx, lease, result)
    return lease.job_id


def training(sessions: Sessions, *, iterations: int, finish: bool = True, **changes: object) -> str:
    """A training of 2000 iterations, 100 an epoch, that has come this far."""
    schedule = {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 200}
    job = queued(sessions, length={"iterations": 2000}, schedule=schedule, **changes)
    lease = claimed(sessions)
    t = np.arange(iterations)
    loss = (2.3 * np.exp(-t / 300) + 0.1).astype("f4")
    train = Chunk("train", 0, 0, {"loss": loss, "lr": 0.01 + 1e-5 * t})
    at = np.array([iterations // 2, iterations])
    measured = {"iteration": at, "val_loss": loss[at - 1], "val_accuracy": np.array([0.8, 0.9])}
    with sessions.begin() as tx:
        resolved = {"schedule": schedule, "iterations_per_epoch": 100}
        leases.plan(tx, lease, start=0, iterations=2000, resolved=resolved)
        validation = Chunk("validation", 0, int(at[0]), measured)
        leases.record(tx, [Progress(lease, iterations, [train, validation])], extend=LEASE)
        if finish:
            final = {"train_loss": 0.1, "val_loss": 0.11, "val_accuracy": 0.9, "diverged_at": None}
            leases.succeed(tx, lease, final)
    return job.id


def ended(sessions: Sessions, val_loss: float | None, **more: JsonValue) -> str:
    """The best training in the queue ends with that loss, at once."""
    lease = claimed(sessions)
    result: dict[str, JsonValue] = {
        "iterations": 100,
        "seconds": 0.1,
        "train_loss": val_loss,
        "val_loss": val_loss,
        "val_accuracy": 0.9,
        "best": None,
        "diverged_at": None,
    }
    with sessions.begin() as tx:
        leases.succeed(tx, lease, result | more)
    return lease.job_id
