"""Reads recorded series back: every row, or a view that keeps the extremes."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from store import jobs
from store.chunks import Chunk, Column
from store.database import ReadTx, Sessions
from store.overviews import Overview, overview
from store.rows import Damage, damage_of, rows_of, together
from store.summaries import Line, NotRecordedError
from store.tables import chunks, summaries
from store.views import MIN_POINTS, minmax

__all__ = [
    "MAX_ROWS",
    "SERIES",
    "Damage",
    "NotRecordedError",
    "Rows",
    "Summary",
    "after",
    "damaged",
    "read",
    "stream",
    "summary",
]

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
"""Quantities by the series whose iterations they share; `validation` has a job's metrics too."""

MAX_ROWS = 1_000_000
"""Rows one answer carries at most; the next one starts where it stops."""

PAGE = 262_144
"""Rows that are in memory at once while all are streamed."""


@dataclass(frozen=True)
class Rows:
    """Rows of one series: `columns` are as long as `iteration`; `cut` when more rows exist.

    Attributes:
        lost: chunks that cannot be read, whose rows are missing; `total` does not count them.
    """

    iteration: NDArray[np.int64]
    columns: dict[str, Column]
    total: int
    bucket: int | None
    next_start: int
    cut: bool = False
    lost: Sequence[Damage] = ()


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
    """
    line = Line(job_id, series, repeat)
    if points is None:
        found = _all(tx, line, names, start, stop, limit=MAX_ROWS)
        if not found.cut:
            return found
        return replace(found, total=_rows_within(tx, line, start, stop, found.lost))
    few = overview(tx, line, names, start, stop, points=points)
    end = _end(few.iteration, few.lost, start, stop)
    if few.total <= points:
        return Rows(few.iteration, few.columns, few.total, None, end, lost=few.lost)
    picked, bucket = minmax(few.iteration, few.columns[names[0]], points)
    reduced = {name: values[picked] for name, values in few.columns.items()}
    return Rows(few.iteration[picked], reduced, few.total, bucket, end, lost=few.lost)


def stream(
    sessions: Sessions,
    job_id: str,
    names: list[str],
    *,
    series: str,
    repeat: int,
    start: int,
    stop: int | None,
) -> Iterator[Rows]:
    """All rows of `[start, stop)` that are there at first, in one page or more.

    Each page has a transaction of its own, and none is open in between, however slow the reader.

    Raises:
        JobNotFoundError: there is none, perhaps no longer.
        NotRecordedError: a name is not among what the job records.
    """
    line = Line(job_id, series, repeat)
    with sessions.read() as tx:
        end = tx.execute(select(func.max(chunks.c.stop)).where(line.of(chunks))).scalar() or 0
    end = end if stop is None else min(end, stop)
    while True:
        with sessions.read() as tx:
            jobs.get(tx, job_id)
            page = _all(tx, line, names, start, end, limit=PAGE)
        yield page
        if not page.cut:
            return
        start = page.next_start


def after(
    tx: ReadTx,
    job_id: str,
    names: list[str],
    *,
    series: str,
    repeat: int,
    start: int,
    limit: int,
) -> Rows:
    """The first rows from `start` on, at most `limit`; `cut` where there are more.

    Raises:
        NotRecordedError: a name is not among what the job records.
    """
    return _all(tx, Line(job_id, series, repeat), names, start, None, limit=limit)


def _all(
    tx: ReadTx, line: Line, names: list[str], start: int, stop: int | None, *, limit: int
) -> Rows:
    parts: list[Chunk] = []
    lost: list[Damage] = []
    rows = 0
    for part in rows_of(tx, line, names, start, stop, lost=lost):
        parts.append(part)
        rows += part.points
        if rows > limit:
            break
    iteration, columns = together(parts, names)
    iteration = iteration[:limit]
    columns = {name: values[:limit] for name, values in columns.items()}
    if rows > limit:  # what lies behind the last row is for the next page
        end = int(iteration[-1]) + 1
        lost = [each for each in lost if each.start < end]
    else:
        end = _end(iteration, lost, start, stop)
    return Rows(iteration, columns, len(iteration), None, end, cut=rows > limit, lost=lost)


def _end(iteration: NDArray[np.int64], lost: Sequence[Damage], start: int, stop: int | None) -> int:
    """Where to go on: after the last row, be it one that was lost."""
    ends = [start, *(each.stop for each in lost)]
    if len(iteration):
        ends.append(int(iteration[-1]) + 1)
    return max(ends) if stop is None else min(max(ends), max(start, stop))


def damaged(
    tx: ReadTx, job_id: str, *, series: str, repeat: int, start: int, stop: int | None
) -> list[Damage]:
    """The chunks with rows of `[start, stop)` that cannot be read, without reading the others."""
    return damage_of(tx, Line(job_id, series, repeat), start, stop)


def summary(tx: ReadTx, job_id: str) -> tuple[list[Summary], list[Damage]]:
    """Every recorded quantity of every repeat in figures, and the chunks that these leave out."""
    s, c = summaries.c, chunks.c
    mine = s.job_id == job_id
    named = tx.execute(select(s.series, s.repeat, s.name).distinct().where(mine, s.name != ""))
    known: dict[Line, set[str]] = {}
    for row in named:
        known.setdefault(Line(job_id, row.series, row.repeat), set()).add(row.name)
    lines = tx.execute(select(c.series, c.repeat).distinct().where(c.job_id == job_id))
    order = list(SERIES)
    found: list[Summary] = []
    lost: list[Damage] = []
    for series, repeat in sorted(lines, key=lambda row: (order.index(row.series), row.repeat)):
        line = Line(job_id, series, repeat)
        if line in known:
            for name in _in_order(series, known[line]):
                few = overview(tx, line, [name], 0, None, points=MIN_POINTS)
                lost += few.lost
                found.append(_summary(few, repeat, name))
        elif parts := list(rows_of(tx, line, None, 0, None, lost=lost)):
            names = _in_order(series, parts[0].columns.keys() - {"iteration"})
            iteration, columns = together(parts, names)
            rows = Overview(iteration, columns, len(iteration))
            found += [_summary(rows, repeat, name) for name in names]
    return found, list(dict.fromkeys(lost))


def _in_order(series: str, names: AbstractSet[str]) -> list[str]:
    """Those that every job may have, then the job's own metrics."""
    common = SERIES[series]
    return [*(name for name in common if name in names), *sorted(names - set(common))]


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


def _rows_within(
    tx: ReadTx, line: Line, start: int, stop: int | None, lost: Sequence[Damage]
) -> int:
    """Rows of a dense series in `[start, stop)` without what was lost, without reading them."""
    query = select(chunks.c.start, chunks.c.stop).where(line.of(chunks), chunks.c.stop > start)
    if stop is not None:
        query = query.where(chunks.c.start < stop)
    missing = {each.start for each in lost}
    bounds = [(a, b) for a, b in tx.execute(query) if a not in missing]
    return sum(min(b, b if stop is None else stop) - max(a, start) for a, b in bounds)
