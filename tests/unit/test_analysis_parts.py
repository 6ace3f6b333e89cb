"""Smoothing without lag, and curves of several repeats."""

import numpy as np
import pytest

from schedules.analysis.curve import cells, curve_of, gone_from, pooled
from schedules.analysis.smoothing import (
    averaging,
    bandwidth,
    local_linear,
    noise,
    widest,
    without_spikes,
)

# Smoothing


@pytest.mark.parametrize("half_width", [2.5, 6.0, 40.0])
def test_a_line_is_its_own_smooth_curve_up_to_both_ends(half_width: float) -> None:
    line = np.linspace(3, -2, 30)
    smooth, _ = local_linear(line, half_width)
    np.testing.assert_allclose(smooth, line, atol=1e-12)


@pytest.mark.parametrize("half_width", [2.5, 7.0])
def test_it_is_the_weighted_least_squares_line_at_each_point(half_width: float) -> None:
    y = np.random.default_rng(0).standard_normal(40)
    smooth, leverage = local_linear(y, half_width)
    for i in range(y.size):
        d = np.arange(y.size) - i
        weight = np.sqrt(np.clip(1 - (d / half_width) ** 2, 0, None))
        design = np.stack([np.ones(y.size), d], axis=1) * weight[:, None]
        own = np.linalg.pinv(design)[0] * weight
        assert smooth[i] == pytest.approx(own @ y)
        assert leverage[i] == pytest.approx(own[i])


def test_a_peak_stays_where_it_is() -> None:
    y = np.exp(-0.5 * ((np.arange(301) - 150) / 20) ** 2)
    smooth, _ = local_linear(y, widest(301))
    assert smooth.argmax() == 150


def test_more_noise_asks_for_a_wider_kernel() -> None:
    wave, random = np.sin(np.arange(500) / 20), np.random.default_rng(0)
    calm, wild = (bandwidth(wave + sd * random.standard_normal(500), 500) for sd in (1e-3, 1))
    assert 5 <= calm < wild <= 30


def test_noise_is_not_slope() -> None:
    random = np.random.default_rng(0).standard_normal(5000)
    assert noise(0.3 * random + np.linspace(0, 500, 5000)) == pytest.approx(0.3, rel=0.05)
    assert noise(np.array([1.0, 2.0])) == 0


def test_averaging_is_the_error_of_the_smooth_curve() -> None:
    y = np.random.default_rng(0).standard_normal(20_000)
    assert local_linear(y, 9.0)[0].std() == pytest.approx(averaging(9.0), rel=0.05)


def test_a_step_is_not_a_spike() -> None:
    random = 0.01 * np.random.default_rng(0).standard_normal(60)
    step = np.where(np.arange(60) < 30, 2.0, 0.0) + random
    np.testing.assert_array_equal(without_spikes(step)[28:32], step[28:32])


# Repeats together

LR = np.geomspace(1e-7, 10, 100)
FALL = np.linspace(5, 1, 100)


def test_a_long_ramp_becomes_at_most_a_thousand_cells() -> None:
    lr = np.geomspace(1e-7, 10, 12_345)
    rates, losses = cells(lr, [np.linspace(5, 1, lr.size)] * 2, [None, None])
    assert rates.size <= 1000
    assert losses.shape == (2, rates.size)
    assert np.isin(rates, lr).all()
    np.testing.assert_allclose(
        losses[0], np.interp(rates, lr, np.linspace(5, 1, lr.size)), atol=1e-3
    )


def test_repeats_that_are_gone_count_and_repeats_that_end_do_not() -> None:
    _, losses = cells(LR, [FALL, FALL, FALL[:50]], [None, None, 50])
    np.testing.assert_array_equal(pooled(losses), FALL)
    _, losses = cells(LR, [FALL, FALL[:50], FALL[:50]], [None, 50, 50])
    assert np.isinf(pooled(losses)[50:]).all()
    _, losses = cells(LR, [FALL, FALL[:50], FALL[:60]], [None, None, None])
    np.testing.assert_array_equal(pooled(losses), FALL[:60])


def test_a_repeat_is_gone_where_it_diverged_or_was_stopped_or_was_not_finite() -> None:
    assert gone_from(FALL, LR, diverged=False) is None
    assert gone_from(FALL[:50], LR, diverged=False) is None
    assert gone_from(FALL[:50], LR, diverged=True) == 50
    assert gone_from([*FALL[:50], np.nan], LR, diverged=False) == 51
    assert gone_from([*FALL[:50], *[99.0] * 20], LR, diverged=True) == 55


def test_a_curve_runs_from_one_to_zero() -> None:
    loss = 0.3 + 2 / (1 + (LR / 0.001) ** 2) + (LR / 0.5) ** 6
    curve = curve_of(LR, loss)
    assert curve is not None
    assert curve.smooth[0] == pytest.approx(1, abs=1e-3)
    assert curve.smooth.min() == 0
    assert curve.y.max() <= 1.51
    assert not curve.gone
