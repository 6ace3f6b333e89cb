"""How fast jobs that compute the same have been."""

from statistics import median

from sqlalchemy import case, func, select

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import State
from store.database import ReadTx
from store.tables import jobs

LIKE = 20
"""Finished jobs that a speed is taken from."""


def pace(tx: ReadTx, owner: str, spec: RangeTestSpec | TrainingSpec) -> float | None:
    """Seconds of an iteration, the median of the owner's latest jobs that compute the same.

    The same model, data, batch size and kind of optimizer; None where there is no such job. One
    that was trained with others took its share of their time.
    """
    same = [
        jobs.c.spec["model"]["name"].as_string() == spec.model.name,
        jobs.c.spec["data"]["name"].as_string() == spec.data.name,
        jobs.c.spec["batch_size"].as_integer() == spec.batch_size,
        jobs.c.spec["optimizer"]["name"].as_string() == spec.optimizer.name,
    ]
    recent = (
        select(jobs.c.id)
        .where(jobs.c.owner == owner, jobs.c.state == State.SUCCEEDED)
        .order_by(jobs.c.id.desc())
        .limit(LIKE * LIKE)
    )
    seconds, count = (jobs.c.result[name].as_float() for name in ("seconds", "iterations"))
    size = func.coalesce(jobs.c.resolved["population"].as_float(), 1)
    # a range test has as many iterations as its repeats have together
    together = case((jobs.c.kind == "training", size), else_=1)
    rows = tx.execute(
        select(seconds / count / together)
        .where(jobs.c.id.in_(recent), *same, seconds > 0, count > 0)
        .order_by(jobs.c.id.desc())
        .limit(LIKE)
    )
    found = list(rows.scalars())
    return median(found) if found else None
