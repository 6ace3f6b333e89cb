"""Rows of chunks as they are stored, few chunks in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from store.chunks import Chunk, Column, DamagedChunkError, check, decode
from store.database import ReadTx
from store.summaries import Line, NotRecordedError
from store.tables import chunks

FETCHED = 16
"""Chunks that are fetched at once at most."""


@dataclass(frozen=True)
class Damage:
    """A chunk that cannot be read: which, the iterations it covers, and what is wrong with it."""

    line: Line
    start: int
    stop: int
    reason: str

    @property
    def chunk(self) -> str:
        """Its key: job, series, repeat, start."""
        return f"{self.line.job_id}/{self.line.series}/{self.line.repeat}/{self.start}"


def rows_of(
    tx: ReadTx,
    line: Line,
    names: Sequence[str] | None,
    start: int,
    stop: int | None,
    *,
    lost: list[Damage],
    streamed: bool = True,
) -> Iterator[Chunk]:
    """The rows of `[start, stop)`, chunk by chunk, with every column where no names are given.

    A chunk that cannot be read is left out, and added to `lost`. What is `streamed` is fetched a
    few chunks at a time, which costs a server more requests.

    Raises:
        NotRecordedError: a name is not among what the job records.
    """
    asked = frozenset(names or ())
    for row in _stored(tx, line, start, stop, streamed=streamed):
        try:
            columns = decode(row.data, names=asked | {"iteration"} if names else None)
            if missing := asked - columns.keys():
                raise NotRecordedError(min(missing), decode(row.data))
        except DamagedChunkError as error:
            lost.append(Damage(line, row.start, row.stop, str(error)))
            continue
        part = within(Chunk(line.series, line.repeat, row.start, columns), start, stop)
        if part.points:
            yield part


def damage_of(tx: ReadTx, line: Line, start: int, stop: int | None) -> list[Damage]:
    """The chunks with rows of `[start, stop)` whose checksum is wrong; none is decompressed."""
    found = []
    for row in _stored(tx, line, start, stop, streamed=True):
        try:
            check(row.data)
        except DamagedChunkError as error:
            found.append(Damage(line, row.start, row.stop, str(error)))
    return found


def _stored(
    tx: ReadTx, line: Line, start: int, stop: int | None, *, streamed: bool
) -> Iterator[Any]:
    """The chunks with rows of `[start, stop)`."""
    c = chunks.c
    here = line.of(chunks) & (c.start <= start)
    # chunks do not overlap: none before the last that begins by then has rows in the range
    begins = select(func.max(c.start)).where(here).scalar_subquery()
    query = (
        select(c.start, c.stop, c.data)
        .where(line.of(chunks), c.start >= func.coalesce(begins, 0), c.stop > start)
        .order_by(c.start)
        # a driver that fetches every row at once would have the whole series in memory
        .execution_options(stream_results=streamed, max_row_buffer=FETCHED)
    )
    if stop is not None:
        query = query.where(c.start < stop)
    with tx.execute(query) as found:
        yield from found


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
