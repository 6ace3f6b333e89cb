"""How well a range test's edge is borne out by bounds that were found in other ways."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

Agreement = Literal["high", "medium", "low"]

HIGH = 0.3
"""Decades: a factor of two."""

MEDIUM = 0.6
"""A factor of four: the suggested peak, a quarter of the edge or less, is below every bound.

Further apart, a bound may lie below the suggestion.
"""


def agreement(edge: float | None, bounds: Iterable[float | None]) -> Agreement | None:
    """By the decades between the lowest and the highest of the edge and the bounds.

    None without an edge, or where no check found a bound.

    >>> agreement(1.0, [0.7, None]), agreement(1.0, [0.4]), agreement(1.0, [0.7, 4.0])
    ('high', 'medium', 'low')
    """
    known = [bound for bound in bounds if bound is not None]
    if edge is None or not known:
        return None
    spread = float(np.ptp(np.log10([edge, *known])))
    if spread < HIGH:
        return "high"
    return "medium" if spread < MEDIUM else "low"
