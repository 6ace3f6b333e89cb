"""Chunks as rows: written by the worker that holds the lease, deleted when recorded anew."""

from collections.abc import Sequence

from sqlalchemy import delete

from spec.values import JobId
from store import summaries
from store.chunks import Chunk, encode
from store.database import WriteTx
from store.tables import chunks
from store.upserts import upsert


def write(tx: WriteTx, parts: Sequence[tuple[JobId, int, Chunk]]) -> None:
    """Stores chunks of jobs and attempts whose leases the transaction has renewed.

    One that is written again, as after an answer that was lost, replaces itself.
    """
    rows = [
        {
            "job_id": job_id,
            "series": chunk.series,
            "repeat": chunk.repeat,
            "start": chunk.start,
            "stop": chunk.stop,
            "after": chunk.after,
            "attempt": attempt,
            "data": encode(chunk),
        }
        for job_id, attempt, chunk in parts
    ]
    if rows:
        upsert(tx, chunks, rows, where=lambda stored, written: stored.attempt <= written.attempt)


def forget(tx: WriteTx, job_id: str, *, after: int) -> None:
    """Deletes what was recorded after the checkpoint at `after`; everything where that is 0."""
    again = (chunks.c.job_id == job_id) & (chunks.c.after >= after)
    tx.execute(delete(chunks).where(again))
    summaries.forget(tx, job_id, after=after)
