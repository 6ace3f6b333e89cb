"""The tables; their columns and rules are those that the migrations make."""

from store.tables.callers import audit, idempotency, keys, owners, retention, usage
from store.tables.jobs import attempts, checkpoints, history, job_tags, jobs
from store.tables.metadata import metadata
from store.tables.pool import leaders, quarantines, strikes, tallies, workers
from store.tables.series import chunks, summaries
from store.tables.sweeps import rungs, sweeps, trials
from store.tables.webhooks import deliveries, webhooks

__all__ = [
    "attempts",
    "audit",
    "checkpoints",
    "chunks",
    "deliveries",
    "history",
    "idempotency",
    "job_tags",
    "jobs",
    "keys",
    "leaders",
    "metadata",
    "owners",
    "quarantines",
    "retention",
    "rungs",
    "strikes",
    "summaries",
    "sweeps",
    "tallies",
    "trials",
    "usage",
    "webhooks",
    "workers",
]
