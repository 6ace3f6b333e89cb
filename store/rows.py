"""Rows of chunks as they are stored, few chunks in memory at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from store.chunks import Chunk, Column, DamagedChunkError, decode
from store.database import ReadTx
from store.summaries import Line, NotRecordedError
from store.tables import chunks

FETCHED = 16
"""Chunks that are fetched at once at most."""


def rows_of(
    tx: ReadTx, line: Line, names: Sequence[str] | None, start: int, stop: int | None
) -> Iterator[Chunk]:
    """The rows of `[start, stop)`, chunk by chunk, with every column where no names are given.

    Raises:
        NotRecordedError: a name is not among what the job records.
        DamagedChunkError: stored bytes cannot be read; it says of which chunk.
    """
    here = line.of(chunks) & (chunks.c.start <= start)
    # chunks do not overlap: none before the last that begins by then has rows in the range
    begins = select(func.max(chunks.c.start)).where(here).scalar_subquery()
    query = (
        select(chunks.c.start, chunks.c.data)
        .where(line.of(chunks), chunks.c.start >= func.coalesce(begins, 0), chunks.c.stop > start)
        .order_by(chunks.c.start)
        # a driver that fetches every row at once would have the whole series in memory
        .execution_options(stream_results=True, max_row_buffer=FETCHED)
    )
    if stop is not None:
        query = query.where(chunks.c.start < stop)
    asked = frozenset(names or ())
    with tx.execute(query) as found:
        for row in found:
            try:
                columns = decode(row.data, names=asked | {"iteration"} if names else None)
                if missing := asked - columns.keys():
                    raise NotRecordedError(min(missing), decode(row.data))
            except DamagedChunkError as error:
                where = f"chunk of {line.job_id}, repeat {line.repeat}, at {row.start}"
                raise DamagedChunkError(f"{where}: {error}") from error
            part = Chunk(line.series, line.repeat, row.start, columns)
            part = within(part, start, stop)
            if part.points:
                yield part


def within(part: Chunk, start: int, stop: int | None) -> Chunk:
    """The rows of a chunk that lie in `[start, stop)`, with their iterations as a column."""
    iteration = part.iteration
    inside = slice(*np.searchsorted(iteration, [start, 2**62 if stop is None else stop]))
    columns = dict(part.columns) | {"iteration": iteration}
    kept = {name: values[inside] for name, values in columns.items()}
    return Chunk(part.series, part.repeat, part.start, kept)


def together(
    parts: Sequence[Chunk], names: Sequence[str]
) -> tuple[NDArray[np.int64], dict[str, Column]]:
    """Iterations and columns of parts that follow each other."""
    if not parts:
        return np.empty(0, np.int64), {name: np.empty(0) for name in names}
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
    return np.concatenate([part.iteration for part in parts]), columns
