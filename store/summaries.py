"""A pyramid above the chunks: rows with the extremes of ever wider buckets, for fast views.

A summary of level 0 covers one block of `BLOCK` iterations and has, for one quantity, the rows
that are smallest and largest in each of its buckets. One of the next level covers `FANOUT` of them
with buckets that many times as wide. All columns are kept at those rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, delete, insert, select

from store.chunks import Chunk, Column, DamagedChunkError, decode, encode
from store.database import ReadTx, WriteTx
from store.tables import summaries
from store.views import extremes

BLOCK = 65_536
"""Iterations that a summary of level 0 covers, and a chunk that was made compact at most."""

BUCKET = 256
FANOUT = 16
LEVELS = 3

MANY = 500
"""Parameters of one statement."""


class NotRecordedError(Exception):
    """The job does not record a quantity that was asked for."""

    def __init__(self, missing: str, columns: Iterable[str]) -> None:
        recorded = ", ".join(sorted(set(columns) - {"iteration"}))
        super().__init__(f"this job does not record {missing}; it records {recorded}")


@dataclass(frozen=True)
class Line:
    """Which rows of a job belong together: one series of one repeat."""

    job_id: str
    series: str
    repeat: int

    def of(self, table: Any) -> ColumnElement[bool]:
        """The line's rows of chunks or summaries."""
        mine: ColumnElement[bool] = (
            (table.c.job_id == self.job_id)
            & (table.c.series == self.series)
            & (table.c.repeat == self.repeat)
        )
        return mine


@dataclass(frozen=True)
class Span:
    """What one summary covers."""

    level: int
    start: int
    stop: int
    first: int
    last: int
    points: int

    @property
    def bucket(self) -> int:
        """The width of its buckets in iterations."""
        width: int = BUCKET * FANOUT**self.level
        return width


def spans(tx: ReadTx, line: Line, name: str, start: int, stop: int | None) -> list[Span]:
    """The summaries of a quantity that lie in `[start, stop)`, by where they start."""
    s = summaries.c
    inside = line.of(summaries) & (s.name == name) & (s.start >= start) & s.data.is_not(None)
    if stop is not None:
        inside &= s.stop <= stop
    query = select(s.level, s.start, s.stop, s.first, s.last, s.points).where(inside)
    return [Span(*row) for row in tx.execute(query.order_by(s.start, s.level))]


def load(
    tx: ReadTx, line: Line, names: Sequence[str], wanted: Sequence[Span]
) -> list[tuple[Span, Chunk | None]]:
    """The rows of spans that `spans` found for the first of the names; None if they are damaged.

    Raises:
        NotRecordedError: a name is not among what the job records.
    """
    s = summaries.c
    mine = line.of(summaries) & (s.name == names[0])
    asked = frozenset(names)
    found: list[tuple[Span, Chunk | None]] = []
    for level in sorted({span.level for span in wanted}):
        here = {span.start: span for span in wanted if span.level == level}
        starts = list(here)
        for i in range(0, len(starts), MANY):
            among = s.start.in_(starts[i : i + MANY])
            for row in tx.execute(select(s.start, s.data).where(mine, s.level == level, among)):
                span = here[row.start]
                try:
                    columns = decode(row.data, names=asked | {"iteration"})
                except DamagedChunkError:
                    found.append((span, None))
                    continue
                if missing := asked - columns.keys():
                    raise NotRecordedError(min(missing), decode(row.data))
                found.append((span, Chunk(line.series, line.repeat, row.start, columns)))
    return found


def write(
    tx: WriteTx, line: Line, start: int, parts: Sequence[Chunk], *, stop: int, merged: bool
) -> None:
    """Summarises the block at `start`, all of whose rows up to `stop` are in `parts`.

    Where they have not all the same columns, the block is noted without a summary.
    """
    common: dict[str, Any] = {
        "level": 0,
        "start": start,
        "stop": stop,
        "first": int(parts[0].iteration[0]),
        "last": int(parts[-1].iteration[-1]),
        "points": sum(part.points for part in parts),
        "after": max(part.after for part in parts),
        "merged": merged,
    }
    if len({shape(part) for part in parts}) > 1:
        note(tx, line, start, stop=stop, after=common["after"], merged=merged)
        return
    columns = joined([dict(part.columns) | {"iteration": part.iteration} for part in parts])
    rows = [
        common | {"name": name, "data": _reduced(line, start, columns, name, BUCKET)}
        for name in columns
        if name != "iteration"
    ]
    _clear(tx, line, start)
    _insert(tx, line, rows)
    if stop == start + BLOCK:
        _raise_up(tx, line, stop)


def note(tx: WriteTx, line: Line, start: int, *, stop: int, after: int, merged: bool) -> None:
    """Notes that the block at `start` has been seen, and cannot be summarised."""
    _clear(tx, line, start)
    ends = {"level": 0, "start": start, "stop": stop, "first": start, "last": stop - 1}
    nothing = {"name": "", "points": 0, "after": after, "merged": merged, "data": None}
    _insert(tx, line, [ends | nothing])


def _clear(tx: WriteTx, line: Line, start: int) -> None:
    s = summaries.c
    tx.execute(delete(summaries).where(line.of(summaries), s.level == 0, s.start == start))


def _raise_up(tx: WriteTx, line: Line, stop: int) -> None:
    """Summarises the summaries of every level of which FANOUT have become whole at `stop`."""
    s = summaries.c
    for level in range(1, LEVELS):
        length = BLOCK * FANOUT**level
        if stop % length:
            return
        start = stop - length
        below = (s.level == level - 1) & (s.start >= start) & (s.start < stop)
        rows = tx.execute(
            select(summaries)
            .where(line.of(summaries), below, s.data.is_not(None))
            .order_by(s.start)
        ).all()
        tx.execute(delete(summaries).where(line.of(summaries), s.level == level, s.start == start))
        above = []
        for name in sorted({row.name for row in rows}):
            under = [row for row in rows if row.name == name]
            if len(under) < FANOUT:
                continue
            try:
                columns = joined([decode(row.data) for row in under])
            except DamagedChunkError:
                continue  # views of it are made from the level below
            above.append(
                {
                    "name": name,
                    "level": level,
                    "start": start,
                    "stop": stop,
                    "first": under[0].first,
                    "last": under[-1].last,
                    "points": sum(row.points for row in under),
                    "after": max(row.after for row in under),
                    "merged": True,
                    "data": _reduced(line, start, columns, name, BUCKET * FANOUT**level),
                }
            )
        if above:
            _insert(tx, line, above)


def forget(tx: WriteTx, job_id: str, *, after: int) -> None:
    """Deletes those that cover a chunk recorded after the checkpoint at `after`."""
    s = summaries.c
    # a block that was the last one of a finished job has room for what will be recorded now
    open_ended = (s.level == 0) & (s.stop < s.start + BLOCK)
    again = (s.after >= after) | open_ended
    tx.execute(delete(summaries).where(s.job_id == job_id, again))


def shape(part: Chunk) -> tuple[tuple[str, np.dtype[Any]], ...]:
    """What rows must have in common to be in one chunk: names and types of their columns."""
    return tuple((name, values.dtype) for name, values in sorted(part.columns.items()))


def joined(parts: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Columns of rows that follow each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reduced(line: Line, start: int, columns: Mapping[str, Column], name: str, width: int) -> bytes:
    picked = extremes(columns["iteration"], columns[name], width)
    rows = {each: values[picked] for each, values in columns.items()}
    return encode(Chunk(line.series, line.repeat, start, rows))


def _insert(tx: WriteTx, line: Line, rows: Sequence[Mapping[str, Any]]) -> None:
    key: dict[str, Any] = {"job_id": line.job_id, "series": line.series, "repeat": line.repeat}
    tx.execute(insert(summaries), [{**key, **row} for row in rows])
