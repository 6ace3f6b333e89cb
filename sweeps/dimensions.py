"""The values of one field of a space: evenly spaced ones, and the one at a given share of it."""

import math
from statistics import NormalDist

from pydantic import JsonValue

from spec.spaces import Choice, Dimension, Normal, Range
from sweeps.space import identity

STANDARD = NormalDist()
LOWEST = 1e-300
"""What a probability is at least, for its quantile to be finite."""


def choices(dimension: Choice) -> list[JsonValue]:
    """The values of a choice, each once."""
    return list({identity(value): value for value in dimension.values}.values())


def step_count(dimension: Range) -> int:
    """How many values a range with a step has."""
    span = dimension.high - dimension.low
    return 1 if dimension.step is None else math.floor(span / dimension.step * (1 + 1e-12)) + 1


def steps(dimension: Range) -> list[JsonValue]:
    """The values of a range with a step."""
    return [_step(dimension, i) for i in range(step_count(dimension))]


def spaced(dimension: Range | Normal, count: int) -> list[JsonValue]:
    """So many values, each once: evenly from end to end, or at equal shares of a distribution.

    Of one value only, the first end of a range is left.
    """
    if isinstance(dimension, Normal):
        return [at(dimension, (i + 0.5) / count) for i in range(count)]
    low, high = _scaled(dimension)
    values = [
        _unscaled(dimension, low + (high - low) * i / max(1, count - 1)) for i in range(count)
    ]
    return list(dict.fromkeys(values))


def at(dimension: Dimension, share: float) -> JsonValue:
    """The value that such a share, 0 <= share <= 1, of what may be drawn lies below."""
    if isinstance(dimension, Normal):
        return _quantile(dimension, share)
    if isinstance(dimension, Choice):  # given twice, a value is drawn twice as often
        return dimension.values[_piece(share, len(dimension.values))]
    if dimension.step is not None:
        return _step(dimension, _piece(share, step_count(dimension)))
    # as wide a piece for each whole number, also the first and the last
    low, high = _scaled(dimension, margin=0.5 if dimension.integer else 0.0)
    return _unscaled(dimension, low + (high - low) * share)


def share_of(dimension: Normal, value: float) -> float:
    """The share of what may be drawn that lies below a value: the inverse of `at`."""
    flipped, low, high = _bounds(dimension)
    z = dimension.standardized(value, math.nan)
    below = STANDARD.cdf(-z if flipped else z) - low
    share = below / (high - low) if high > low else 0.5
    return min(max(1 - share if flipped else share, 0.0), 1.0)


def _bounds(dimension: Normal) -> tuple[bool, float, float]:
    """Whether it is computed as its mirror image, and what lies below its bounds.

    Probabilities near 0 are exact, those near 1 are not.
    """
    low = dimension.standardized(dimension.low, -math.inf)
    high = dimension.standardized(dimension.high, math.inf)
    flipped = low > 0
    if flipped:
        low, high = -high, -low
    return flipped, STANDARD.cdf(low), STANDARD.cdf(high)


def _quantile(dimension: Normal, share: float) -> float:
    flipped, low, high = _bounds(dimension)
    below = low + (high - low) * (1 - share if flipped else share)
    z = STANDARD.inv_cdf(min(max(below, LOWEST), math.nextafter(1, 0)))
    value = dimension.mean + dimension.sd * (-z if flipped else z)
    return tidy(math.exp(value) if dimension.distribution == "lognormal" else value, dimension)


def _piece(share: float, pieces: int) -> int:
    return min(int(share * pieces), pieces - 1)


def _step(dimension: Range, i: int) -> float | int:
    return _number(dimension, dimension.low + i * (dimension.step or 0.0))


def _scaled(dimension: Range, margin: float = 0.0) -> tuple[float, float]:
    low, high = dimension.low - margin, dimension.high + margin
    return (math.log(low), math.log(high)) if dimension.log else (low, high)


def _unscaled(dimension: Range, value: float) -> float | int:
    return _number(dimension, math.exp(value) if dimension.log else value)


def _number(dimension: Range, value: float) -> float | int:
    if dimension.integer:
        return math.floor(min(max(value, dimension.low), dimension.high) + 0.5)
    return tidy(value, dimension)


def tidy(value: float, dimension: Range | Normal) -> float:
    """Within bounds, and without the digits that only rounding left: 0.30000000000000004 is 0.3."""
    low = -math.inf if dimension.low is None else dimension.low
    high = math.inf if dimension.high is None else dimension.high
    return min(max(float(f"{value:.12g}"), low), high)
