"""Reads recorded series back: every row, or a view that keeps the extremes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from store.chunks import Chunk, Column
from store.database import ReadTx
from store.overviews import Overview, overview
from store.rows import rows_of, together
from store.summaries import Line, NotRecordedError
from store.tables import chunks, summaries
from store.views import MIN_POINTS, minmax

__all__ = ["MAX_ROWS", "SERIES", "NotRecordedError", "Rows", "Summary", "read", "summary"]

SERIES = {
    "train": ("loss", "lr", "momentum", "accuracy", "grad_norm", "probe_loss"),
    "validation": ("val_loss", "val_accuracy"),
    "range_test": (
        "range_loss",
        "range_lr",
        "range_accuracy",
        "range_grad_norm",
        "range_probe_loss",
    ),
}
"""Quantities by the series whose iterations they share."""

MAX_ROWS = 1_000_000
"""Rows one answer carries at most; the next one starts where it stops."""


@dataclass(frozen=True)
class Rows:
    """Rows of one series: `columns` are as long as `iteration`; `cut` when more rows exist."""

    iteration: NDArray[np.int64]
    columns: dict[str, Column]
    total: int
    bucket: int | None
    next_start: int
    cut: bool = False


@dataclass(frozen=True)
class Summary:
    """One quantity in figures; extremes are over finite values, None where there are none."""

    repeat: int
    name: str
    count: int
    first: float
    last: float
    min: float | None
    min_at: int | None
    max: float | None
    max_at: int | None


def read(
    tx: ReadTx,
    job_id: str,
    names: list[str],
    *,
    series: str,
    repeat: int,
    start: int,
    stop: int | None,
    points: int | None,
) -> Rows:
    """Rows of `[start, stop)`: all of them, or with `points` a view of at most that many.

    A view reads summaries where it can, and chunks for what these leave out; it equals what
    `minmax` makes of all rows.

    Raises:
        NotRecordedError: a name is not among what the job records.
        DamagedChunkError: stored bytes cannot be read.
    """
    line = Line(job_id, series, repeat)
    if points is None:
        return _all(tx, line, names, start, stop)
    found = overview(tx, line, names, start, stop, points=points)
    if not found.total:
        return Rows(found.iteration, found.columns, 0, None, start)
    next_start = int(found.iteration[-1]) + 1
    if found.total <= points:
        return Rows(found.iteration, found.columns, found.total, None, next_start)
    picked, bucket = minmax(found.iteration, found.columns[names[0]], points)
    reduced = {name: values[picked] for name, values in found.columns.items()}
    return Rows(found.iteration[picked], reduced, found.total, bucket, next_start)


def _all(tx: ReadTx, line: Line, names: list[str], start: int, stop: int | None) -> Rows:
    parts: list[Chunk] = []
    rows = 0
    for part in rows_of(tx, line, names, start, stop):
        parts.append(part)
        rows += part.points
        if rows > MAX_ROWS:
            break
    iteration, columns = together(parts, names)
    cut = rows > MAX_ROWS
    if cut:
        iteration = iteration[:MAX_ROWS]
        columns = {name: values[:MAX_ROWS] for name, values in columns.items()}
    total = _rows_within(tx, line, start, stop) if cut else rows
    next_start = int(iteration[-1]) + 1 if rows else start
    return Rows(iteration, columns, total, None, next_start, cut)


def summary(tx: ReadTx, job_id: str) -> list[Summary]:
    """Every recorded quantity of every repeat in figures."""
    s, c = summaries.c, chunks.c
    mine = s.job_id == job_id
    named = tx.execute(select(s.series, s.repeat, s.name).distinct().where(mine, s.name != ""))
    known: dict[Line, set[str]] = {}
    for row in named:
        known.setdefault(Line(job_id, row.series, row.repeat), set()).add(row.name)
    lines = tx.execute(select(c.series, c.repeat).distinct().where(c.job_id == job_id))
    order = list(SERIES)
    found: list[Summary] = []
    for series, repeat in sorted(lines, key=lambda row: (order.index(row.series), row.repeat)):
        line = Line(job_id, series, repeat)
        if line in known:
            for name in SERIES[series]:
                if name in known[line]:
                    few = overview(tx, line, [name], 0, None, points=MIN_POINTS)
                    found.append(_summary(few, repeat, name))
        else:
            parts = list(rows_of(tx, line, None, 0, None))
            names = [name for name in SERIES[series] if name in parts[0].columns]
            iteration, columns = together(parts, names)
            rows = Overview(iteration, columns, len(iteration))
            found += [_summary(rows, repeat, name) for name in names]
    return found


def _summary(rows: Overview, repeat: int, name: str) -> Summary:
    iteration, values = rows.iteration, rows.columns[name].astype(np.float64)
    known = np.isfinite(values)
    low = int(np.argmin(np.where(known, values, np.inf))) if known.any() else None
    high = int(np.argmax(np.where(known, values, -np.inf))) if known.any() else None
    return Summary(
        repeat=repeat,
        name=name,
        count=rows.total,
        first=float(values[0]),
        last=float(values[-1]),
        min=None if low is None else float(values[low]),
        min_at=None if low is None else int(iteration[low]),
        max=None if high is None else float(values[high]),
        max_at=None if high is None else int(iteration[high]),
    )


def _rows_within(tx: ReadTx, line: Line, start: int, stop: int | None) -> int:
    """Rows of a dense series in `[start, stop)`, without reading them."""
    query = select(chunks.c.start, chunks.c.stop).where(line.of(chunks), chunks.c.stop > start)
    if stop is not None:
        query = query.where(chunks.c.start < stop)
    bounds = tx.execute(query)
    return sum(min(b, b if stop is None else stop) - max(a, start) for a, b in bounds)
