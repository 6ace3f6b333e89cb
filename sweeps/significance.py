"""Tests of paired differences: Student's t, sign flips, and Holm's correction."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from schedules.values import F64

EXACT = 14
"""Up to so many differences all ways to flip their signs are tried; beyond, some at random."""

FLIPS = 20_000
AT_ONCE = 1_000_000
"""Signs that are drawn at a time."""

TINY = 1e-300
CLOSE = 1e-15
STEPS = 10_000
SEED = 0


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    Source: the continued fraction of DLMF 8.17.22 by Lentz's method, on the side of the mean
    where it converges fast.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    return _fraction(a, b, x, 1 - x)


def two_sided(t: float, df: float) -> float:
    """The probability that a Student's t with `df` degrees of freedom is as far from 0 as `t`."""
    square = t * t
    if math.isinf(square):
        return 0.0
    x, rest = df / (df + square), square / (df + square)
    a, b = df / 2, 0.5
    # `rest` keeps the digits that 1 - x would lose near t = 0
    if x > (a + 1) / (a + b + 2):
        return 1 - _fraction(b, a, rest, x)
    return _fraction(a, b, x, rest)


@lru_cache(maxsize=256)
def quantile(level: float, df: int) -> float:
    """The t that is passed to either side with probability 1 - level, by bisection."""
    low, high = 0.0, 1.0
    while two_sided(high, df) > 1 - level:
        low, high = high, high * 2
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided(middle, df) > 1 - level else (low, middle)
    return high


def flipped(differences: Sequence[float]) -> float:
    """The two-sided p value of their sum under all ways to flip the differences' signs.

    Exact up to 14 of them; beyond that it is estimated by 20,000 random flips with the observed
    one among them, so that it is never 0 (Phipson and Smyth, arXiv 1603.05766).
    """
    d = np.asarray(differences, dtype=np.float64)
    largest = float(np.abs(d).max(initial=0.0))
    if largest == 0:
        return 1.0
    d = d / largest  # sums do not overflow
    level = abs(float(d.sum())) - 1e-12 * float(np.abs(d).sum())  # ties are ties despite rounding
    if d.size <= EXACT:
        return float((np.abs(_signs(d.size) @ d) >= level).mean())
    far = sum(int((np.abs(sums) >= level).sum()) for sums in _flipped_sums(d))
    return (1 + far) / (1 + FLIPS)


def holm(p: Sequence[float]) -> list[float]:
    """Each p value corrected for that there are several (Holm 1979): never below its own.

    >>> holm([0.25, 0.0625, 0.5])
    [0.5, 0.1875, 0.5]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, highest = [1.0] * len(p), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, p[i] * (len(p) - place)))
        corrected[i] = highest
    return corrected


@lru_cache(maxsize=EXACT)
def _signs(n: int) -> F64:
    """All rows of 1 and -1 that begin with 1: the others are their mirror images."""
    return np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=n - 1)])


def _flipped_sums(d: F64) -> Iterator[F64]:
    """Sums under random flips, some rows at a time: those of thousands of repeats are large."""
    rng, total = np.random.default_rng(SEED), d.sum()
    rows = max(1, AT_ONCE // d.size)
    for start in range(0, FLIPS, rows):
        shape = (min(rows, FLIPS - start), -(-d.size // 8))
        bits = np.unpackbits(rng.integers(256, size=shape, dtype=np.uint8), axis=1, count=d.size)
        yield 2 * (bits @ d) - total


def _fraction(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b) by its continued fraction; `rest` is 1 - x."""
    if x == 0:
        return 0.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    )
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _away(1 + step * d)
            c = _away(1 + step / c)
            found *= d * c
        if abs(d * c - 1) < CLOSE:
            break
    return front * found / a


def _away(value: float) -> float:
    return value if abs(value) > TINY else TINY
