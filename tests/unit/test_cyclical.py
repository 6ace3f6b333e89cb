"""Cyclical policies: written-out values, windows, late cycles, resuming, momentum."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules import Schedule
from schedules.cyclical import (
    Cyclical,
    ExpRange,
    Triangular,
    Triangular2,
    Window,
    cycle_and_phase,
    window,
)

WINDOWS: tuple[Window, ...] = ("triangular", "welch", "hann")
BOUNDS = {"base_lr": 0.001, "max_lr": 0.006, "step_size": 50}
MOMENTA = {"base_momentum": 0.8, "max_momentum": 0.95}


LONG = {"base_lr": 0.001, "max_lr": 0.006, "step_size": 2000}


def lr(schedule: Schedule, *t: float) -> list[float]:
    return schedule.lr_at(t, iterations=100_000).tolist()


def about(values: list[float]) -> Any:
    return pytest.approx(values, rel=2e-6)


def test_triangular() -> None:
    t = (0, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000)
    expected = [0.001, 0.00225, 0.0035, 0.006, 0.0035, 0.001, 0.0035, 0.006, 0.001, 0.006]
    assert lr(Triangular(**LONG), *t) == about(expected)


def test_triangular2() -> None:
    found = lr(Triangular2(**LONG), 2000, 5000, 6000, 10_000, 14_000)
    assert found == about([0.006, 0.00225, 0.0035, 0.00225, 0.001625])


def test_exp_range_decays_the_amplitude_or_both_bounds() -> None:
    amplitude = ExpRange(**LONG, gamma=0.99994)
    expected = [0.00221306, 0.00543459, 0.00448834, 0.00374401]
    assert lr(amplitude, 500, 2000, 6000, 10_000) == about(expected)
    both = ExpRange(**LONG, gamma=0.99994, decay="both")
    expected = [0.0021835, 0.0053215, 0.000786622, 0.00329281]
    assert lr(both, 500, 2000, 4000, 10_000) == pytest.approx(expected, rel=1e-5)


def test_windows() -> None:
    assert lr(Triangular(**LONG, window="welch"), 500, 1000) == about([0.0031875, 0.00475])
    found = lr(Triangular(**LONG, window="hann"), 500, 1000)
    assert found == pytest.approx([0.00173223, 0.0035], rel=1e-5)


def test_the_peak_is_in_the_middle_of_a_cycle() -> None:
    schedule = Triangular(base_lr=0.001, max_lr=0.006, step_size=1000)
    assert lr(schedule, 4000, 5000, 6000) == about([0.001, 0.006, 0.001])


def test_the_formula_to_the_last_bit() -> None:
    """In the order of operations in which the paper writes it."""
    base, top, size = 0.0013, 0.0671, 37
    t = np.arange(1000)
    for schedule, gain in (
        (Triangular(base_lr=base, max_lr=top, step_size=size), lambda _t, _cycle: 1.0),
        (Triangular2(base_lr=base, max_lr=top, step_size=size), lambda _t, c: 1 / 2 ** (c - 1)),
    ):
        for i in t.tolist():
            cycle = int(np.floor(1 + i / (2 * size)))
            x = abs(i / size - 2 * cycle + 1)
            expected = base + (top - base) * (max(0, 1 - x) * gain(i, cycle))
            assert schedule.lr_at(i, iterations=1000) == expected


@given(st.integers(1, 10**6), st.integers(0, 1000))
def test_cycles_begin_at_the_base_and_peak_in_the_middle(step_size: int, number: int) -> None:
    schedule = Triangular(base_lr=0.1, max_lr=0.9, step_size=step_size)
    begin = 2 * step_size * number
    found = schedule.lr_at([begin, begin + step_size, begin + 2 * step_size], iterations=10**12)
    np.testing.assert_allclose(found, [0.1, 0.9, 0.1], rtol=1e-9)
    assert schedule.cycle_end(1) == 2 * step_size


def test_momentum_runs_against_the_rate() -> None:
    schedule = Triangular(**LONG, base_momentum=0.8, max_momentum=0.95)
    found = schedule.momentum_at([0, 1000, 2000, 4000], iterations=10_000)
    assert found is not None
    np.testing.assert_allclose(found, [0.95, 0.875, 0.8, 0.95])
    assert Triangular(**LONG).momentum_at([0], iterations=1) is None
    halved = Triangular2(**LONG, base_momentum=0.8, max_momentum=0.9)
    second = halved.momentum_at(6000, iterations=10_000)
    assert second == pytest.approx(0.85)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_climbs_from_zero_to_one(name: Window) -> None:
    heights = window(name, np.linspace(1, 0, 101))
    assert heights[0] == pytest.approx(0, abs=1e-15)
    assert heights[-1] == 1
    assert (np.diff(heights) >= 0).all()


@given(st.integers(1, 10**6), st.integers(0, 10**9), st.data())
def test_cycle_and_phase_are_exact_however_late(
    step_size: int, number: int, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, 2 * step_size - 1))
    t = np.array([2 * step_size * number + offset], dtype=np.float64)
    cycle, x = cycle_and_phase(t, step_size)
    assert cycle.tolist() == [number + 1]
    assert x[0] == pytest.approx(abs(offset / step_size - 1), abs=1e-6)


@given(st.sampled_from(WINDOWS), st.integers(1, 1000), st.integers(0, 10**6))
def test_any_window_repeats_itself_every_cycle(name: Window, step_size: int, number: int) -> None:
    schedule = Triangular(base_lr=0.1, max_lr=0.9, step_size=step_size, window=name)
    t = np.arange(2 * step_size)
    first = schedule.lr_at(t, iterations=10**12)
    later = schedule.lr_at(t + 2 * step_size * number, iterations=10**12)
    np.testing.assert_allclose(later, first, rtol=1e-6)


@given(st.integers(0, 900), st.integers(1, 100))
def test_a_resumed_run_reads_the_same_rates_to_the_last_bit(start: int, length: int) -> None:
    for schedule in (Triangular2(**BOUNDS), ExpRange(**BOUNDS, gamma=0.999, window="hann")):
        whole = schedule.lr_at(np.arange(1000), iterations=1000)
        part = schedule.lr_at(np.arange(start, start + length), iterations=1000)
        assert part.tolist() == whole[start : start + length].tolist()


@pytest.mark.parametrize(
    ("mode", "schedule"),
    [
        ("triangular", Triangular(**BOUNDS, **MOMENTA)),
        ("triangular2", Triangular2(**BOUNDS, **MOMENTA)),
        ("exp_range", ExpRange(**BOUNDS, **MOMENTA, gamma=0.999)),
    ],
)
def test_torch_cycles_momentum_the_same_way(mode: str, schedule: Cyclical) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=BOUNDS["base_lr"],
        max_lr=BOUNDS["max_lr"],
        step_size_up=BOUNDS["step_size"],
        mode=mode,
        gamma=0.999,
        **MOMENTA,
    )
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing is trained here
        for _ in range(450):
            found.append(optimizer.param_groups[0]["momentum"])
            theirs.step()
    ours = schedule.momentum_at(np.arange(450), iterations=450)
    assert ours is not None
    np.testing.assert_allclose(ours, found, rtol=1e-12)
