"""Reads recorded series back: every row, or a view that keeps the extremes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select

from store.chunks import Chunk, Column, DamagedChunkError, decode
from store.database import ReadTx
from store.tables import chunks
from store.views import minmax

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


class NotRecordedError(Exception):
    """The job does not record a quantity that was asked for."""

    def __init__(self, missing: str, recorded: list[str]) -> None:
        super().__init__(f"this job does not record {missing}; it records {', '.join(recorded)}")


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

    Raises:
        NotRecordedError: a name is not among what the job records.
        DamagedChunkError: stored bytes cannot be read.
    """
    query = _chunks(job_id, series).where(chunks.c.repeat == repeat, chunks.c.stop > start)
    if stop is not None:
        query = query.where(chunks.c.start < stop)
    parts: list[Chunk] = []
    rows = 0
    for row in tx.execute(query):
        parts.append(_chunk(row, job_id, frozenset(names)))
        rows += parts[-1].points
        if points is None and rows > MAX_ROWS + parts[0].points:
            break  # enough, also after what lies before `start` in the first chunk is cut off
    if not parts:
        empty = np.empty(0, np.int64)
        return Rows(empty, {name: np.empty(0) for name in names}, 0, None, start)
    iteration = np.concatenate([part.iteration for part in parts])
    inside = slice(*np.searchsorted(iteration, [start, stop if stop is not None else 2**62]))
    cut = points is None and inside.stop - inside.start > MAX_ROWS
    if cut:
        inside = slice(inside.start, inside.start + MAX_ROWS)
        total = _rows_within(tx, query, start, stop)
    iteration = iteration[inside]
    columns = {name: np.concatenate([p.columns[name] for p in parts])[inside] for name in names}
    total = total if cut else len(iteration)
    next_start = int(iteration[-1]) + 1 if total else start
    if points is None or total <= points:
        return Rows(iteration, columns, total, None, next_start, cut)
    picked, bucket = minmax(iteration, columns[names[0]], points)
    reduced = {name: values[picked] for name, values in columns.items()}
    return Rows(iteration[picked], reduced, total, bucket, next_start)


def summary(tx: ReadTx, job_id: str) -> list[Summary]:
    """Every recorded quantity of every repeat in figures."""
    found: dict[tuple[str, int], list[Chunk]] = {}
    for series in SERIES:
        for row in tx.execute(_chunks(job_id, series)):
            found.setdefault((series, row.repeat), []).append(_chunk(row, job_id, None))
    return [
        _summary(parts, repeat, name)
        for (series, repeat), parts in found.items()
        for name in SERIES[series]
        if name in parts[0].columns
    ]


def _summary(parts: list[Chunk], repeat: int, name: str) -> Summary:
    iteration = np.concatenate([part.iteration for part in parts])
    values = np.concatenate([part.columns[name] for part in parts]).astype(np.float64)
    known = np.isfinite(values)
    low = int(np.argmin(np.where(known, values, np.inf))) if known.any() else None
    high = int(np.argmax(np.where(known, values, -np.inf))) if known.any() else None
    return Summary(
        repeat=repeat,
        name=name,
        count=len(values),
        first=float(values[0]),
        last=float(values[-1]),
        min=None if low is None else float(values[low]),
        min_at=None if low is None else int(iteration[low]),
        max=None if high is None else float(values[high]),
        max_at=None if high is None else int(iteration[high]),
    )


def _rows_within(tx: ReadTx, query: Select[Any], start: int, stop: int | None) -> int:
    """Rows of a dense series in `[start, stop)`, without reading them."""
    bounds = tx.execute(query.with_only_columns(chunks.c.start, chunks.c.stop))
    return sum(min(b, b if stop is None else stop) - max(a, start) for a, b in bounds)


def _chunks(job_id: str, series: str) -> Select[Any]:
    return (
        select(chunks.c.repeat, chunks.c.start, chunks.c.data)
        .where(chunks.c.job_id == job_id, chunks.c.series == series)
        .order_by(chunks.c.repeat, chunks.c.start)
    )


def _chunk(row: Any, job_id: str, names: frozenset[str] | None) -> Chunk:
    try:
        columns = decode(row.data, names=names and names | {"iteration"})
        if names is not None and (missing := names - columns.keys()):
            recorded = decode(row.data).keys() - {"iteration"}
            raise NotRecordedError(min(missing), sorted(recorded))
    except DamagedChunkError as error:
        where = f"chunk of {job_id}, repeat {row.repeat}, at {row.start}"
        raise DamagedChunkError(f"{where}: {error}") from error
    return Chunk("", row.repeat, row.start, columns)
