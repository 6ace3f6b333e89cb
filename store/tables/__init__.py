"""The tables; their columns and rules are those that the migrations make."""

from store.tables.callers import audit, idempotency, keys, owners
from store.tables.jobs import attempts, checkpoints, history, job_tags, jobs
from store.tables.metadata import metadata
from store.tables.pool import components, leaders, workers
from store.tables.series import chunks, summaries
from store.tables.sweeps import rungs, sweeps, trials

__all__ = [
    "attempts",
    "audit",
    "checkpoints",
    "chunks",
    "components",
    "history",
    "idempotency",
    "job_tags",
    "jobs",
    "keys",
    "leaders",
    "metadata",
    "owners",
    "rungs",
    "summaries",
    "sweeps",
    "trials",
    "workers",
]
