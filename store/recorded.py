"""Chunks as rows: written by the worker that holds the lease, deleted when recorded anew."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, delete, select

from spec.values import JobId
from store import summaries
from store.chunks import Chunk, DamagedChunkError, cut, decode, encode
from store.database import WriteTx
from store.summaries import Line
from store.tables import chunks
from store.upserts import upsert

Part = tuple[JobId, int, Chunk]
"""A chunk, its job, and the attempt that wrote it."""

# built once: it is looked up for every chunk that is written
_LAST = (
    select(chunks.c.start, chunks.c.stop)
    .where(
        *(chunks.c[name] == bindparam(name) for name in ("job_id", "series", "repeat")),
        chunks.c.start < bindparam("stop"),
    )
    .order_by(chunks.c.start.desc())
    .limit(1)
)


def write(tx: WriteTx, parts: Sequence[Part]) -> int:
    """Stores chunks of jobs and attempts whose leases the transaction has renewed.

    Rows that are written again, as after an answer that was lost, replace themselves, also where
    they have been merged with others since.

    Returns:
        How many bytes they are.
    """
    for job_id, _, chunk in parts:
        _make_room(tx, Line(job_id, chunk.series, chunk.repeat), chunk.start, chunk.stop)
    return put(tx, parts)


def put(tx: WriteTx, parts: Sequence[Part]) -> int:
    """Stores chunks whose iterations no others have, unless they begin at the same one.

    Returns:
        How many bytes they are.
    """
    rows: list[dict[str, Any]] = [
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
    return sum(len(row["data"]) for row in rows)


def _make_room(tx: WriteTx, line: Line, start: int, stop: int) -> None:
    """Takes the rows of `[start, stop)` out of the chunks that have them with other rows."""
    c = chunks.c
    last = tx.execute(_LAST, {**asdict(line), "stop": stop}).first()
    # chunks do not overlap: if the last one has none of the rows, no other has
    if last is None or last.stop <= start or (last.start == start and last.stop <= stop):
        return
    over = line.of(chunks) & (c.start < stop) & (c.stop > start)
    found = tx.execute(select(c.start, c.stop, c.after, c.attempt, c.data).where(over)).all()
    for row in found:
        kept: list[Chunk] = []
        if row.start < start or row.stop > stop:
            try:
                columns = decode(row.data)
            except DamagedChunkError:
                continue  # there is nothing to be kept of it, and readers are to be told
            part = Chunk(line.series, line.repeat, row.start, columns, row.after)
            kept = [each for each in cut(part, start, stop) if not start <= each.start < stop]
        tx.execute(delete(chunks).where(line.of(chunks), c.start == row.start))
        put(tx, [(JobId(line.job_id), row.attempt, each) for each in kept])


def forget(tx: WriteTx, job_id: str, *, after: int) -> None:
    """Deletes what was recorded after the checkpoint at `after`; everything where that is 0."""
    again = (chunks.c.job_id == job_id) & (chunks.c.after >= after)
    tx.execute(delete(chunks).where(again))
    summaries.forget(tx, job_id, after=after)
