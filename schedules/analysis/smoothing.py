"""Zero-phase smoothing of a noisy curve on an even grid, with its bandwidth found from the data.

All of it works on the index of the curve, which is log lr up to scale on an exponential ramp, and
lr itself, Smith's own axis, on a linear one.
"""

import numpy as np
from numpy.typing import NDArray

from schedules.values import F64

BANDWIDTHS = (0.01, 0.015, 0.022, 0.032, 0.045, 0.06)
"""Candidates, as shares of the curve's length."""

MAD_TO_SD = 1.4826  # of a normal distribution


def local_linear(y: F64, width: float) -> tuple[F64, F64]:
    """Fits a line around every point, with Gaussian weights of standard deviation `width` points.

    With `S_k = sum w*d^k` and `T_k = sum w*d^k*y` over the neighbours at distance d, the line at
    the point itself is `(S_2*T_0 - S_1*T_1) / (S_0*S_2 - S_1^2)`. A line, not a mean: the ends
    are not bent, and the middle is not delayed as by a moving average (Fan and Gijbels, 1996,
    section 3.2).

    Args:
        y: shape (..., n), finite.
        width: in points.

    Returns:
        The fit, shape (..., n), and the weight that each point has in its own fit, shape (n,).
    """
    n = y.shape[-1]
    reach = min(n - 1, int(np.ceil(3 * width)))
    d = np.arange(-reach, reach + 1, dtype=np.float64)
    w = np.exp(-0.5 * (d / width) ** 2)
    ones = np.ones(n)
    s0, s1, s2 = (_correlate(ones, w * d**k) for k in range(3))
    t0, t1 = _correlate(y, w), _correlate(y, w * d)
    determinant = s0 * s2 - s1**2
    return (s2 * t0 - s1 * t1) / determinant, s2 / determinant


def smooth(y: F64) -> tuple[F64, float]:
    """The local-linear fit whose bandwidth predicts each point best from the others.

    The residual of a point that is left out is `(y - fit) / (1 - own weight)`.

    Args:
        y: shape (n,), finite, n >= 5.

    Returns:
        The fit, shape (n,), and its bandwidth in points.
    """
    best, least, chosen = y, np.inf, 1.0
    for share in BANDWIDTHS:
        width = max(1.0, share * len(y))
        fit, own = local_linear(y, width)
        error = float(np.mean(((y - fit) / (1 - own)) ** 2))
        if error < least:
            best, least, chosen = fit, error, width
    return best, chosen


def noise(y: F64) -> float:
    """Standard deviation of the noise of a curve that itself changes slowly.

    From the median absolute difference of neighbours, so that jumps and spikes do not count.

    >>> noise(np.array([0.0, 1.0, 2.0, 3.0]))
    0.0
    """
    steps = np.diff(y)
    if len(steps) == 0:
        return 0.0
    return float(MAD_TO_SD * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))


def rolling_median(y: F64, size: int) -> F64:
    """Median of each point and the `size - 1` before it; fewer at the start. Shape (n,)."""
    padded = np.concatenate([np.full(size - 1, np.nan), y])
    windows: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(padded, size)
    medians: F64 = np.nanmedian(windows, axis=1)
    return medians


def _correlate(y: F64, kernel: F64) -> F64:
    """Sum over d of kernel[d] * y[i + d]; outside the curve there is nothing."""
    reach = len(kernel) // 2
    rows = y.reshape(-1, y.shape[-1])
    sums = [np.convolve(row, kernel[::-1])[reach : reach + y.shape[-1]] for row in rows]
    return np.stack(sums).reshape(y.shape)
