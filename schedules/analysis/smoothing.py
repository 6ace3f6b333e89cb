"""Smooths the noisy curve of a range test without lag, and measures its noise.

All of it works on the index, which is log lr up to scale on an exponential ramp. On a linear ramp
the index is the better axis of the two: in log lr its lower decades would hold a handful of points.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from schedules.values import F64

BANDWIDTHS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06)
"""Half-widths of the kernel to choose from, as shares of the whole test."""

NARROWEST = 2.5
"""Half-width that still averages five points."""

SPIKE = 5.0
MAD_TO_SD = 1.4826
NEVER_ZERO = 1e-9


def median_filter(y: F64, width: int) -> F64:
    """Median of the `width` (odd) points around each point; the ends repeat beyond themselves."""
    return np.median(sliding_window_view(np.pad(y, width // 2, mode="edge"), width), axis=-1)


def noise(y: F64) -> float:
    """Standard deviation of the noise, whatever the trend: MAD of second differences.

    `sd = 1.4826 * median(|y[i-1] - 2*y[i] + y[i+1]|) / sqrt(6)`

    >>> noise(np.array([0.0, 1.0, 2.0, 3.0])), round(noise(np.array([1.0, -1.0, 1.0, -1.0])), 3)
    (0.0, 2.421)
    """
    bends = np.abs(np.diff(y, n=2))
    return float(MAD_TO_SD * np.median(bends) / np.sqrt(6)) if bends.size else 0.0


def without_spikes(y: F64) -> F64:
    """The series with what is 5 sd away from the median of the five around it replaced by that.

    >>> without_spikes(np.array([3.0, 2.0, 2.0, 9.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0]))
    array([3., 2., 2., 2., 2., 2., 2., 1., 1., 1., 0.])
    """
    usual = median_filter(y, 5)
    return np.where(np.abs(y - usual) > SPIKE * noise(y), usual, y)


def local_linear(y: F64, half_width: float) -> tuple[F64, F64]:
    """Local-linear regression with an Epanechnikov kernel: the smooth curve and the leverages.

    The line fitted around i, with weights `K = 1 - (d/half_width)^2`, is evaluated at i itself:
    no lag, and no bias at the ends. With `S_k = sum K*d^k` and `T_k = sum K*d^k*y`:
    `s = (S_2*T_0 - S_1*T_1) / (S_0*S_2 - S_1^2)`. The leverage, `S_2 / (S_0*S_2 - S_1^2)`, is
    the weight that a point has in its own estimate.
    """
    d, kernel = _kernel(half_width)

    def moment(values: F64, power: int) -> F64:
        # a convolution runs backwards, hence the sign
        return np.convolve(values, kernel * (-d) ** power)[d.size // 2 :][: y.size]

    s0, s1, s2 = (moment(np.ones_like(y), power) for power in range(3))
    determinant = s0 * s2 - s1**2
    return (s2 * moment(y, 0) - s1 * moment(y, 1)) / determinant, s2 / determinant


def bandwidth(y: F64, planned: int, *, error: float = np.inf) -> float:
    """The half-width, from 1 to 6 % of `planned`, that best predicts a point from the others.

    Compared is the median leave-one-out residual `|y - s| / (1 - leverage)`: with the mean, the
    chaos past the edge decides, and always asks for the narrowest. Widths that leave a larger
    standard error than `error` are passed over for wider ones.
    """

    def mistake(half_width: float) -> float:
        fit, leverage = local_linear(y, half_width)
        return float(np.median(np.abs(y - fit) / np.maximum(1 - leverage, NEVER_ZERO)))

    widths = [max(NARROWEST, share * planned) for share in BANDWIDTHS]
    calm = [width for width in widths if noise(y) * averaging(width) <= error]
    return min(calm, key=mistake, default=widths[-1])


def widest(planned: int) -> float:
    """The largest half-width, 6 % of `planned`."""
    return max(NARROWEST, BANDWIDTHS[-1] * planned)


def averaging(half_width: float) -> float:
    """Standard error of the smooth curve as a share of the noise of one point."""
    _, kernel = _kernel(half_width)
    return float(np.sqrt(np.sum(kernel**2)) / np.sum(kernel))


def _kernel(half_width: float) -> tuple[F64, F64]:
    reach = np.ceil(half_width) - 1
    d = np.arange(-reach, reach + 1)
    return d, 1 - (d / half_width) ** 2
