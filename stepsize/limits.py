"""Which range of losses is worth drawing: where a run diverges it would flatten all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def loss_limits(losses: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The lowest and highest loss to draw, of curves of which each has some finite value."""
    import numpy as np  # noqa: PLC0415 - heavy, and many commands need no array

    finite = [each[np.isfinite(each)] for each in losses]
    first = max(float(np.median(each[: max(len(each) // 10, 1)])) for each in finite)
    lowest = min(float(each.min()) for each in finite)
    highest = max(float(each.max()) for each in finite)
    drop = max(first - lowest, 1e-12 + 0.1 * abs(first))
    bottom = lowest - 0.08 * drop
    return (max(bottom, 0.0) if lowest >= 0 else bottom), min(
        highest, first + 0.6 * drop
    ) + 0.12 * drop
