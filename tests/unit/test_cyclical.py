"""Cyclical policies beyond test_schedules.py: windows, late cycles, resuming, momentum."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
