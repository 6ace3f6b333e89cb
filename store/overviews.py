"""Few rows that stand for many: those of summaries, and of the chunks that have none yet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store import summaries
from store.chunks import Chunk, Column
from store.database import ReadTx
from store.rows import Damage, rows_of, together
from store.summaries import Line, Span, load, spans
from store.views import bucket


@dataclass(frozen=True)
class Overview:
    """Rows among which are all that `minmax` picks for so many points; `total` counts all.

    Attributes:
        lost: chunks that could not be read; their rows are neither here nor counted.
    """

    iteration: NDArray[np.int64]
    columns: dict[str, Column]
    total: int
    lost: Sequence[Damage] = ()


def overview(
    tx: ReadTx, line: Line, names: Sequence[str], start: int, stop: int | None, *, points: int
) -> Overview:
    """Rows of `[start, stop)`, enough to view the first of the names in `points` rows or fewer.

    Where all rows are no more than that, they are all there.

    Raises:
        NotRecordedError: a name is not among what the job records.
    """
    lost: list[Damage] = []

    def stored(gaps: Iterable[tuple[int, int | None]]) -> list[Chunk]:
        # few, as a rule: what has no summary yet, and the ends of the range
        return [
            part
            for a, b in gaps
            for part in rows_of(tx, line, names, a, b, lost=lost, streamed=False)
        ]

    known = spans(tx, line, names[0], start, stop)
    floor = [span for span in known if span.level == 0]
    raw = stored(_gaps(floor, start, stop))
    few: list[tuple[Span, Chunk]] = []
    if floor and _points(floor) + _points(raw) > points:
        first = min([floor[0].first, *(int(part.iteration[0]) for part in raw)])
        last = max([floor[-1].last, *(int(part.iteration[-1]) for part in raw)])
        few = _loaded(tx, line, names, known, bucket(first, last, points))
    covered = {block for span, _ in few for block in _blocks(span)}
    raw += stored(_ranges(span for span in floor if span.start not in covered))
    total = _points(span for span, _ in few) + _points(raw)
    columns = together(sorted([*raw, *(part for _, part in few)], key=_first), names)
    return Overview(*columns, total, tuple(dict.fromkeys(lost)))


def _loaded(
    tx: ReadTx, line: Line, names: Sequence[str], known: Sequence[Span], width: int
) -> list[tuple[Span, Chunk]]:
    """The rows of spans that `_cover` chooses, of those that are not damaged."""
    while True:
        found = load(tx, line, names, _cover(known, width))
        if all(part is not None for _, part in found):
            return [(span, part) for span, part in found if part is not None]
        damaged = {span for span, part in found if part is None}
        known = [span for span in known if span not in damaged]


def _points(parts: Iterable[Chunk | Span]) -> int:
    return sum(part.points for part in parts)


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


def _ranges(floor: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """What the spans cover, those that follow each other as one."""
    ends: tuple[int, int] | None = None
    for span in floor:
        if ends is not None and span.start == ends[1]:
            ends = (ends[0], span.stop)
            continue
        if ends is not None:
            yield ends
        ends = (span.start, span.stop)
    if ends is not None:
        yield ends


def _cover(known: Sequence[Span], width: int) -> list[Span]:
    """The highest spans whose buckets are not wider than that, none over another's rows."""
    chosen: list[Span] = []
    covered: set[int] = set()
    for span in sorted(known, key=lambda span: -span.level):
        if span.bucket <= width and span.start not in covered:
            chosen.append(span)
            covered.update(_blocks(span))
    return chosen


def _blocks(span: Span) -> range:
    return range(span.start, span.stop, summaries.BLOCK)
