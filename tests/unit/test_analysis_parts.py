"""Smoothing without lag, curves of several repeats, and fastai's rules as fastai writes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.analysis.compat import Compat, compat, longest_decrease, moving_average
from schedules.analysis.curve import cells, curve_of, pooled
from schedules.analysis.smoothing import (
    averaging,
    bandwidth,
    local_linear,
    noise,
    widest,
    without_spikes,
)
from schedules.values import F64

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
    rates, losses = cells(lr, [np.linspace(5, 1, lr.size)] * 2)
    assert rates.size <= 1000
    assert losses.shape == (2, rates.size)
    assert np.isin(rates, lr).all()
    np.testing.assert_allclose(
        losses[0], np.interp(rates, lr, np.linspace(5, 1, lr.size)), atol=1e-3
    )


def test_repeats_that_are_gone_count_and_repeats_that_end_do_not() -> None:
    gone = np.concatenate([FALL[:50], np.full(50, np.nan)])
    _, losses = cells(LR, [FALL, FALL, gone])
    np.testing.assert_array_equal(pooled(losses), FALL)
    _, losses = cells(LR, [FALL, gone, gone])
    assert np.isinf(pooled(losses)[50:]).all()
    _, losses = cells(LR, [FALL, FALL[:50], FALL[:60]])
    np.testing.assert_array_equal(pooled(losses), FALL[:60])


def test_a_curve_runs_from_one_to_zero() -> None:
    loss = 0.3 + 2 / (1 + (LR / 0.001) ** 2) + (LR / 0.5) ** 6
    curve = curve_of(LR, loss)
    assert curve is not None
    assert curve.smooth[0] == pytest.approx(1, abs=1e-3)
    assert curve.smooth.min() == 0
    assert curve.y.max() <= 1.51
    assert not curve.gone


# Other finders' rules


def valley(lr: F64, losses: F64) -> float:
    """fastai's `valley`, line by line."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if (losses[i] < losses[j]) and (lds[i] < lds[j] + 1):
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return float(lr[max_start + int(sections) + int(sections / 2)])


def slide(lr: F64, losses: F64) -> float:
    """fastai's `slide`, line by line."""
    loss_grad = np.gradient(losses)
    r_idx = -1
    l_idx = r_idx - 15
    local_min_lr = lr[l_idx]
    while (l_idx >= -len(losses)) and (abs(loss_grad[r_idx] - loss_grad[l_idx]) > 0.005):
        local_min_lr = lr[l_idx]
        r_idx -= 1
        l_idx -= 1
    return float(local_min_lr)


def peers(lr: F64, losses: F64) -> Compat:
    """fastai's smoothing, stop, cut and rules, line by line."""
    average, best, recorded = 0.0, np.inf, []
    for count, loss in enumerate(losses, 1):
        average = 0.98 * average + 0.02 * loss
        smooth = average / (1 - 0.98**count)
        recorded.append(smooth)
        best = min(best, smooth)
        if smooth > 4 * best:
            break
    s, rates = np.array(recorded)[len(lr) // 10 : -5], lr[: len(recorded)][len(lr) // 10 : -5]
    slopes = (s[1:] - s[:-1]) / (np.log(rates[1:]) - np.log(rates[:-1]))
    steep, minimum = float(rates[slopes.argmin()]), float(rates[s.argmin()]) / 10
    return Compat(valley(rates, s), slide(rates, s), minimum, steep)


@given(st.integers(0, 1000), st.floats(0, 0.5), st.floats(0.01, 100))
def test_the_peers_rules_are_theirs(seed: int, sd: float, edge: float) -> None:
    loss = 0.5 + 2 / (1 + (LR / 0.001) ** 1.5) + (LR / edge) ** 3
    loss += sd * np.random.default_rng(seed).uniform(0, 1, 100)
    found, expected = compat(LR, loss), peers(LR, loss)
    assert (found.valley, found.slide) == (expected.valley, expected.slide)
    assert (found.minimum, found.steep) == (expected.minimum, expected.steep)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40))
def test_the_longest_decrease_of_any_series(series: list[int]) -> None:
    lengths: list[int] = []
    for i, value in enumerate(series):
        before = [lengths[j] for j in range(i) if series[j] > value]
        lengths.append(1 + max(before, default=0))
    longest = max(lengths)
    assert longest_decrease(np.array(series, dtype=float)) == (lengths.index(longest), longest)


def test_the_average_is_right_from_the_first_loss_on() -> None:
    weights = 0.98 ** np.array([2, 1, 0])
    found = moving_average(np.array([3.0, 3.0, 1.0]))
    assert found[0] == pytest.approx(3)
    assert found[2] == pytest.approx(weights @ [3, 3, 1] / weights.sum())


def test_rules_without_an_answer_say_so() -> None:
    nothing = Compat()
    assert compat(LR, []) == compat(LR, [1.0] * 15) == compat(LR, [np.nan] * 100) == nothing
    assert compat(LR, np.linspace(1, 2, 100)).valley is None
    assert compat(LR, FALL[:30]).slide is None
    assert compat(LR, FALL[:30]).minimum == pytest.approx(LR[24] / 10)


def test_losses_after_the_first_that_is_not_finite_are_not_seen() -> None:
    broken = np.concatenate([FALL[:60], [np.nan], np.full(39, -50.0)])
    assert compat(LR, broken).minimum == LR[59] / 10
    assert compat(LR, FALL - 100).minimum == LR[94] / 10
