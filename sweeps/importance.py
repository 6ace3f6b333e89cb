"""Which parameters of a sweep matter: the share of the variance that goes with each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from schedules.values import F64
from spec.sweeps import Direction
from sweeps.ranking import Row
from sweeps.significance import incomplete_beta
from sweeps.summaries import BINS, SIDE, Bin, Places, places_of, pointers_of, values_of

PER_LEVEL = 3
"""Rows that a number has on average, at least, where each different one keeps a bin of its own."""

PER_CELL = 5
"""Rows that a cell of two parameters has on average, at least."""


@dataclass(frozen=True)
class Importance:
    """How much of how the values differ goes with one parameter.

    Attributes:
        share: of the variance, 0 to 1, beyond what bins of pure chance would explain.
        p: of the F-test that it explains nothing.
        n: rows that have it.
    """

    pointer: str
    share: float
    p: float
    n: int


@dataclass(frozen=True)
class Interaction:
    """How much of how the values differ goes with two parameters together, beyond each alone."""

    pointers: tuple[str, str]
    share: float
    n: int


def importance(
    rows: Sequence[Row], direction: Direction, *, by: Literal["rank", "value"] = "rank"
) -> list[Importance]:
    """Each parameter's own share of the variance, the largest first.

    The correlation ratio `Var(E[y | x]) / Var(y)`, which is the first-order Sobol index (Saltelli
    et al., 2008) and, for a whole grid, the main effect of functional ANOVA; x in bins of equally
    many rows, and corrected for their number: epsilon squared (Kelley 1935). y are the ranks of
    the values, so that one loss of 10^6 is not all there is and those that diverged have a place,
    the last one; by="value" takes the values themselves and leaves out what diverged.

    It sees one parameter at a time: shares add up to less than 1 where they interact (see
    `interactions`), and where a sampler has drawn two alike (tpe, cma_es, coarse_to_fine), both
    get what belongs to one. A conditional parameter is judged within the rows that have it.
    """
    found = []
    for pointer in pointers_of(rows):
        y, places, bins = _binned(rows, pointer, direction, by)
        if len(bins) > 1 and y.size > len(bins):
            share, p = _explained(y, places, len(bins))
            found.append(Importance(pointer, share, p, int(y.size)))
    return sorted(found, key=lambda each: (-each.share, each.p))


def interactions(
    rows: Sequence[Row], direction: Direction, *, by: Literal["rank", "value"] = "rank"
) -> list[Interaction]:
    """The share of each two parameters together, less their own ones; the largest first.

    As `importance`, in coarser bins: five rows or more are in a cell on average. Two that are too
    many for the rows are left out.
    """
    y = _targets(rows, direction, by)
    coarse = {}
    for pointer in pointers_of(rows):
        coarse[pointer] = places_of(rows, pointer, ~np.isnan(y), _side(rows))
    found = []
    for a, b in combinations(coarse, 2):
        (first, of_a), (second, of_b) = coarse[a], coarse[b]
        inside = (first >= 0) & (second >= 0)
        n, cells = int(inside.sum()), len(of_a) * len(of_b)
        if min(len(of_a), len(of_b)) < 2 or n < PER_CELL * cells:  # noqa: PLR2004 - one value varies nothing
            continue
        kept, i, j = y[inside], first[inside], second[inside]
        together = _explained(kept, i * len(of_b) + j, cells)[0]
        alone = _explained(kept, i, len(of_a))[0] + _explained(kept, j, len(of_b))[0]
        found.append(Interaction((a, b), max(0.0, together - alone), n))
    return sorted(found, key=lambda each: -each.share)


def _targets(rows: Sequence[Row], direction: Direction, by: str) -> F64:
    values = values_of(rows)
    if by == "value":
        return values
    costs = np.where(np.isnan(values), math.inf, values if direction == "minimize" else -values)
    _, inverse, counts = np.unique(costs, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: F64 = (ends - (counts - 1) / 2)[inverse]
    return middles


def _binned(
    rows: Sequence[Row], pointer: str, direction: Direction, by: str
) -> tuple[F64, Places, tuple[Bin, ...]]:
    having = [row for row in rows if pointer in row.parameters]
    y = _targets(having, direction, by)
    usable = ~np.isnan(y)
    n = int(usable.sum())
    places, bins = places_of(having, pointer, usable, BINS)
    if len(bins) * PER_LEVEL > n or any(each.low != each.high for each in bins):
        places, bins = places_of(having, pointer, usable, min(BINS, max(2, math.isqrt(n) // 2)))
    return y[usable], places[usable], bins


def _side(rows: Sequence[Row]) -> int:
    return min(SIDE, max(2, math.isqrt(len(rows) // PER_CELL)))


def _explained(y: F64, places: Places, bins: int) -> tuple[float, float]:
    """Epsilon squared, and the p value of the F-test."""
    counts = np.bincount(places, minlength=bins)
    groups = int(np.count_nonzero(counts))
    between_df, within_df = groups - 1, y.size - groups
    largest = float(np.abs(y).max())
    centred = y / largest if largest > 0 else y  # squares do not overflow
    centred = centred - centred.mean()
    total = float(centred @ centred)
    sums = np.bincount(places, weights=centred, minlength=bins)
    between = float(np.sum(sums[counts > 0] ** 2 / counts[counts > 0]))
    if between_df < 1 or within_df < 1 or total <= 1e-24 * y.size:
        return 0.0, 1.0
    within = max(0.0, total - between)
    share = 1 - (within / within_df) / (total / (y.size - 1))
    p = incomplete_beta(within_df / 2, between_df / 2, min(1.0, within / total))
    return min(max(share, 0.0), 1.0), p
