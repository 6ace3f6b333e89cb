"""How values are spread along the parameters of a sweep: bins, and summaries of one or two."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from schedules.values import F64
from spec.sweeps import Direction
from sweeps.ranking import LARGEST, Row
from sweeps.space import ABSENT, identity

Places = NDArray[np.intp]
"""For each row the index of its bin, -1 where it is in none."""

BINS = 20
"""The most bins of a number."""

SIDE = 8
"""The most bins of each of two."""

CHOICES = 50
"""The most bins of choices of each of two, so that many by many are no millions of cells."""


@dataclass(frozen=True)
class Bin:
    """Values of a parameter: a choice, or numbers from `low` to `high`, both of which are in it.

    Or several choices together, of which there are `others`, 0 in every other bin.
    """

    value: JsonValue = None
    low: float | None = None
    high: float | None = None
    others: int = 0


@dataclass(frozen=True)
class Summary:
    """The values of some rows.

    Attributes:
        n: rows with a value.
        diverged: those without.
        mean: as those below None where n is 0; they leave out what diverged.
    """

    n: int
    diverged: int
    mean: float | None = None
    best: float | None = None
    quartiles: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Marginal:
    """What the values are along one parameter, whatever the others are."""

    pointer: str
    bins: tuple[Bin, ...]
    cells: tuple[Summary, ...]


@dataclass(frozen=True)
class Pair:
    """What the values are along two parameters: `cells[i][j]` is of `rows[i]` and `columns[j]`."""

    pointers: tuple[str, str]
    rows: tuple[Bin, ...]
    columns: tuple[Bin, ...]
    cells: tuple[tuple[Summary, ...], ...]


def marginals(rows: Sequence[Row], direction: Direction, *, most: int = BINS) -> list[Marginal]:
    """What the values are along each parameter, in the order in which they are found.

    A number with more than `most` different values is cut into bins of equally many rows.
    """
    values, everything = values_of(rows), np.ones(len(rows), dtype=np.bool_)
    found = []
    for pointer in pointers_of(rows):
        places, bins = places_of(rows, pointer, everything, most)
        cells = _summaries(values, places, len(bins), direction)
        found.append(Marginal(pointer, bins, tuple(cells)))
    return found


def pair(
    rows: Sequence[Row], pointers: tuple[str, str], direction: Direction, *, most: int = SIDE
) -> Pair:
    """What the values are along two parameters, of the rows that have both.

    Of more than `CHOICES` choices the most frequent keep a bin each, the first found of those that
    are equally so, and the others are together in the last one.
    """
    values, everything = values_of(rows), np.ones(len(rows), dtype=np.bool_)
    (i, down), (j, across) = (
        _together(*places_of(rows, each, everything, most), CHOICES) for each in pointers
    )
    places = np.where((i >= 0) & (j >= 0), i * len(across) + j, -1)
    flat = list(_summaries(values, places, len(down) * len(across), direction))
    width = len(across)
    cells = tuple(tuple(flat[k * width : (k + 1) * width]) for k in range(len(down)))
    return Pair(pointers, down, across, cells)


def pointers_of(rows: Sequence[Row]) -> list[str]:
    """All parameters that some row has, in the order in which they are found."""
    return list(dict.fromkeys(pointer for row in rows for pointer in row.parameters))


def values_of(rows: Sequence[Row]) -> F64:
    """NaN where it diverged."""
    found = np.array([math.nan if row.value is None else row.value for row in rows], dtype=float)
    return np.where(np.abs(found) < LARGEST, found, math.nan)


def places_of(
    rows: Sequence[Row], pointer: str, usable: NDArray[np.bool_], most: int
) -> tuple[Places, tuple[Bin, ...]]:
    """Which bin each row is in, -1 where it is not usable or does not have the parameter."""
    found = [row.parameters.get(pointer, ABSENT) for row in rows]
    inside = np.array([each is not ABSENT for each in found], dtype=np.bool_) & usable
    present = [each for each, used in zip(found, inside, strict=True) if used]
    places = np.full(len(rows), -1, dtype=np.intp)
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in present):
        places[inside], bins = _of_numbers(np.array(present, dtype=np.float64), most)
    else:
        places[inside], bins = _of_choices(present)
    return places, bins


def _of_choices(values: Sequence[object]) -> tuple[Places, tuple[Bin, ...]]:
    keys: dict[Hashable, int] = {}
    places = [keys.setdefault(identity(value), len(keys)) for value in values]
    first = {place: value for value, place in zip(reversed(values), reversed(places), strict=True)}
    bins = tuple(Bin(value=first[place]) for place in range(len(keys)))  # type: ignore[arg-type]
    return np.array(places, dtype=np.intp), bins


def _together(places: Places, bins: tuple[Bin, ...], most: int) -> tuple[Places, tuple[Bin, ...]]:
    """At most so many bins: those with the fewest rows become one."""
    if len(bins) <= most:
        return places, bins
    counts = np.bincount(places[places >= 0], minlength=len(bins))
    kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
    target = np.full(len(bins) + 1, most - 1, dtype=np.intp)
    target[kept], target[-1] = np.arange(most - 1), -1  # the place of what is in no bin is -1
    some = (*(bins[k] for k in kept), Bin(others=len(bins) - kept.size))
    return target[places], some


def _of_numbers(x: F64, most: int) -> tuple[Places, tuple[Bin, ...]]:
    """Each value its own bin where they are few, else bins of about equally many."""
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    if values.size <= most:
        return inverse.astype(np.intp), tuple(Bin(low=float(v), high=float(v)) for v in values)
    middles = np.cumsum(counts) - counts / 2
    _, of_value = np.unique((middles * most / x.size).astype(np.intp), return_inverse=True)
    bins = tuple(
        Bin(low=float(values[of_value == k][0]), high=float(values[of_value == k][-1]))
        for k in range(int(of_value[-1]) + 1)
    )
    return of_value[inverse].astype(np.intp), bins


def _summaries(values: F64, places: Places, bins: int, direction: Direction) -> Iterator[Summary]:
    order = np.argsort(places, kind="stable")
    edges = np.searchsorted(places[order], np.arange(bins + 1))
    for start, end in pairwise(edges.tolist()):
        cell = values[order[start:end]]
        kept = cell[~np.isnan(cell)]
        diverged = int(cell.size - kept.size)
        if not kept.size:
            yield Summary(0, diverged)
            continue
        low, middle, high = np.percentile(kept, [25, 50, 75]).tolist()
        best = kept.min() if direction == "minimize" else kept.max()
        yield Summary(kept.size, diverged, float(kept.mean()), float(best), (low, middle, high))
