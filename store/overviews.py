"""Few rows that stand for many: those of summaries, and of the chunks that have none yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store import summaries
from store.chunks import Chunk, Column, DamagedChunkError
from store.database import ReadTx
from store.rows import rows_of, together
from store.summaries import Line, Span, load, spans
from store.views import bucket


@dataclass(frozen=True)
class Overview:
    """Rows among which are all that `minmax` picks for so many points; `total` counts all."""

    iteration: NDArray[np.int64]
    columns: dict[str, Column]
    total: int


def overview(
    tx: ReadTx, line: Line, names: Sequence[str], start: int, stop: int | None, *, points: int
) -> Overview:
    """Rows of `[start, stop)`, enough to view the first of the names in `points` rows or fewer.

    Where all rows are no more than that, they are all there.

    Raises:
        NotRecordedError: a name is not among what the job records.
        DamagedChunkError: stored bytes cannot be read.
    """
    known = spans(tx, line, names[0], start, stop)
    floor = [span for span in known if span.level == 0]
    raw = [part for a, b in _gaps(floor, start, stop) for part in rows_of(tx, line, names, a, b)]
    total = sum(span.points for span in floor) + sum(part.points for part in raw)
    chosen: list[Span] = []
    if floor and total > points:
        first = min([floor[0].first, *(int(part.iteration[0]) for part in raw)])
        last = max([floor[-1].last, *(int(part.iteration[-1]) for part in raw)])
        chosen = _cover(known, bucket(first, last, points))
    if floor and chosen:
        try:
            raw += load(tx, line, names, chosen)
        except DamagedChunkError:
            chosen = []  # the chunks have what it was made from
    if floor and not chosen:
        raw = list(rows_of(tx, line, names, start, stop))
    return Overview(*together(sorted(raw, key=_first), names), total)


def _first(part: Chunk) -> int:
    return int(part.iteration[0])


def _gaps(floor: Sequence[Span], start: int, stop: int | None) -> Iterator[tuple[int, int | None]]:
    """What the spans leave out of `[start, stop)`; None for no end."""
    for span in floor:
        if span.start > start:
            yield start, span.start
        start = span.stop
    if stop is None or start < stop:
        yield start, stop


def _cover(known: Sequence[Span], width: int) -> list[Span]:
    """The highest spans whose buckets are not wider than that, none over another's rows."""
    chosen: list[Span] = []
    covered: set[int] = set()
    for span in sorted(known, key=lambda span: -span.level):
        if span.bucket <= width and span.start not in covered:
            chosen.append(span)
            covered.update(range(span.start, span.stop, summaries.BLOCK))
    return chosen
