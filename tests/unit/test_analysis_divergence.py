"""Divergence is persistent, causal, and knows no scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.analysis.divergence import divergence
from schedules.values import F64


def descent(n: int = 300, *, noise: float = 0.05, seed: int = 0) -> F64:
    """Falls from 2 to 1 half-way."""
    steps = 1 + 1 / (1 + np.exp((np.arange(n) - n / 2) / (n / 20)))
    return steps + noise * np.random.default_rng(seed).standard_normal(n)


def test_it_is_confirmed_after_three_percent() -> None:
    losses = np.concatenate([descent(), np.full(50, 9.0)])
    assert divergence(losses, planned=350) == 300 + round(0.03 * 350)
    assert divergence(losses[:309], planned=350) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_counts_as_too_high(bad: float) -> None:
    losses = np.concatenate([descent(), np.full(50, bad)])
    assert divergence(losses, planned=350) == 300 + round(0.03 * 350)
    assert divergence(np.full(50, bad), planned=300) == 9


@pytest.mark.parametrize("spike", [np.nan, np.inf, 1e6])
@pytest.mark.parametrize("at", [0, 1, 12, 30, 150, 299])
def test_a_spike_is_no_divergence(spike: float, at: int) -> None:
    losses = descent()
    losses[at : at + 3] = spike
    assert divergence(losses, planned=300) is None


def test_one_lucky_batch_does_not_raise_the_limit() -> None:
    losses = np.concatenate([descent(), np.full(50, 9.0)])
    losses[200] = -1e6
    assert divergence(losses, planned=350) == 310


def test_a_loss_that_jumps_about_above_the_limit_has_diverged() -> None:
    losses = np.concatenate([descent(), np.tile([9.0, 1.0, 9.0], 20)])
    assert divergence(losses, planned=360) is not None


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_a_slow_start_is_no_divergence(noise: float) -> None:
    rises = np.concatenate([np.linspace(2.3, 2.8, 150), np.linspace(2.8, 0.3, 150)])
    for seed in range(20):
        losses = rises + noise * np.random.default_rng(seed).standard_normal(300)
        assert divergence(losses, planned=300) is None


def test_coming_back_to_the_beginning_is_no_divergence() -> None:
    losses = np.concatenate([descent(), np.full(200, 2.2)])
    assert divergence(losses, planned=500) is None


def test_losses_without_any_noise_are_no_measure_of_a_rise() -> None:
    losses = 2.3 + 1e-9 * np.exp(np.arange(300) / 20)
    assert divergence(losses, planned=300) is None


@pytest.mark.parametrize("losses", [[], [2.3], [2.3] * 100, [0.0] * 100])
def test_few_or_equal_losses(losses: list[float]) -> None:
    assert divergence(losses, planned=100) is None


@given(st.integers(0, 100), st.integers(20, 400), st.floats(1, 50), st.data())
def test_later_losses_do_not_decide(seed: int, n: int, height: float, data: st.DataObject) -> None:
    losses = descent(n, seed=seed)
    losses[data.draw(st.integers(0, n)) :] += height
    whole = divergence(losses, planned=n)
    for size in range(0, n + 1, data.draw(st.integers(1, 40))):
        expected = whole if whole is not None and whole <= size else None
        assert divergence(losses[:size], planned=n) == expected


@given(st.integers(0, 100), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3), st.integers(50, 250))
def test_scale_and_offset_do_not_matter(seed: int, scale: float, shift: float, at: int) -> None:
    losses = descent(seed=seed)
    losses[at:] += np.geomspace(0.1, 1e4, 300 - at)
    assert divergence((losses + shift) * scale, planned=300) == divergence(losses, planned=300)
