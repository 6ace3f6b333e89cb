"""Schedules against written-out values."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schedules import (
    Constant,
    Cosine,
    Exponential,
    FlatCosine,
    InverseSqrt,
    Linear,
    MultiStep,
    Noam,
    OneCycle,
    Polynomial,
    Rex,
    Schedule,
    Sgdr,
    SlantedTriangular,
    Snapshot,
    Step,
    Triangular,
    Wsd,
)
from schedules.ramp import Ramp
from schedules.values import UnresolvedError
from schedules.wsd import Fraction

BOUNDS = {"base_lr": 0.001, "max_lr": 0.006, "step_size": 2000}


def lr(schedule: Schedule, *t: float, iterations: int = 100_000) -> list[float]:
    return schedule.lr_at(t, iterations=iterations).tolist()


def about(values: list[float], rel: float = 2e-6) -> Any:
    return pytest.approx(values, rel=rel)


def test_constant() -> None:
    assert lr(Constant(lr=0.3), 0, 7, 99_999) == [0.3, 0.3, 0.3]


def test_step_and_multi_step() -> None:
    step = Step(lr=0.8, step_size=10, gamma=0.5)
    assert lr(step, 0, 9, 10, 19, 20, 35) == about([0.8, 0.8, 0.4, 0.4, 0.2, 0.1])
    multi = MultiStep(lr=1.0, milestones=(3, 7, 7))
    assert lr(multi, 0, 2, 3, 6, 7, 99) == about([1, 1, 0.1, 0.1, 0.001, 0.001])


def test_exponential() -> None:
    assert lr(Exponential(lr=0.5, gamma=0.9), 0, 1, 2, 10) == about(
        [0.5, 0.45, 0.405, 0.5 * 0.9**10]
    )
    assert lr(Exponential(lr=0.5, gamma=0.5), 5000) == [0]


def test_polynomial_and_linear() -> None:
    polynomial = Polynomial(lr=1.0, end_lr=0.2, power=2.0)
    assert lr(polynomial, 0, 50, 75, 100, iterations=101) == about([1, 0.4, 0.25, 0.2])
    linear = Linear(lr=1.0)
    assert lr(linear, 0, 25, 75, 100, 101, iterations=101) == about([1, 0.75, 0.25, 0, 0])
    assert lr(Linear(lr=1.0, end_lr=0.5), 0, 50, 100, iterations=101) == about([1, 0.75, 0.5])


def test_cosine() -> None:
    t = (0, 25, 50, 100, 150)
    expected = [1, 0.1 + 0.9 * (2 + math.sqrt(2)) / 4, 0.55, 0.1, 0.1]
    assert lr(Cosine(lr=1.0, min_lr=0.1), *t, iterations=101) == about(expected)


def test_flat_cosine() -> None:
    t = (0, 71, 72, 72 + 9, 99, 100)
    expected = [1, 1, 1, (1 + math.cos(math.pi / 3)) / 2, 0, 0]
    assert lr(FlatCosine(lr=1.0), *t, iterations=100) == pytest.approx(expected, abs=1e-15)
    assert lr(FlatCosine(lr=1.0, pct_start=1.0), 0, 99, iterations=100) == [1, 1]


def test_sgdr() -> None:
    schedule = Sgdr(lr=0.05, t_0=10, t_mult=2)
    t = (0, 5, 9.5, 10, 20, 30, 50, 70)
    expected = [0.05, 0.025, 3.07791e-4, 0.05, 0.025, 0.05, 0.025, 0.05]
    assert lr(schedule, *t) == about(expected)
    assert [schedule.cycle_end(n) for n in range(1, 6)] == [10, 30, 70, 150, 310]
    equal = Sgdr(lr=0.05, t_0=10, min_lr=0.01)
    assert lr(equal, 5, 10, 15, 9_990) == about([0.03, 0.05, 0.03, 0.05])
    assert equal.cycle_end(7) == 70


@given(st.integers(1, 1000), st.integers(2, 1000), st.integers(0, 40))
def test_sgdr_restarts_where_its_cycles_end(t_0: int, t_mult: int, number: int) -> None:
    start = t_0 * (t_mult**number - 1) // (t_mult - 1)
    if not 0 < start < 10**15:
        return
    schedule = Sgdr(lr=1.0, t_0=t_0, t_mult=t_mult)
    assert schedule.cycle_end(number) == start
    before, restart = lr(schedule, start - 1, start, iterations=start + 1)
    assert restart == 1
    length = t_0 * t_mult ** (number - 1)
    assert before == pytest.approx((1 + math.cos(math.pi * (1 - 1 / length))) / 2, abs=1e-15)


def test_ends_of_cycles_beyond_any_run_are_still_numbers() -> None:
    end = Sgdr(lr=1.0, t_0=1, t_mult=1000).cycle_end(1_000_000)
    assert end is not None
    assert len(str(end)) < 1000


def test_snapshot() -> None:
    """The paper counts t from 1."""
    schedule = Snapshot(lr=0.1, cycles=5)
    found = lr(schedule, 1 - 1, 10 - 1, 20 - 1, 21 - 1, iterations=100)
    assert found == about([0.1, 0.0578217, 6.15583e-4, 0.1])
    ends = [schedule.cycle_end(n, iterations=103) for n in range(1, 8)]
    assert ends == [21, 42, 63, 84, 103, None, None]
    assert schedule.cycle_end(1) is None


def test_one_cycle() -> None:
    t = (0, 10, 29, 30, 50, 98, 99, 200)
    expected = [0.04, 0.295164, 1, 0.999497, 0.793893, 5.07465e-4, 4e-6, 4e-6]
    assert lr(OneCycle(max_lr=1.0), *t, iterations=100) == about(expected)
    three = OneCycle(max_lr=1.0, three_phase=True)
    assert lr(three, 29, 58, 80, 99, iterations=100) == about([1, 0.04, 0.0177086, 4e-6], rel=1e-5)
    momentum = OneCycle(max_lr=1.0).momentum_at([0, 29, 99], iterations=100)
    assert momentum == pytest.approx(np.array([0.95, 0.85, 0.95]))
    own = OneCycle(max_lr=1.0, base_momentum=None, max_momentum=None)
    assert own.momentum_at([0], iterations=100) is None


def test_slanted_triangular() -> None:
    schedule = SlantedTriangular(max_lr=0.01)
    expected = [3.125e-4, 0.00515625, 0.01, 0.00515625, 3.125e-4]
    assert lr(schedule, 0, 50, 100, 550, 1000, iterations=1001) == about(expected)
    assert lr(schedule, 0, 50, 100, 550, iterations=1000) == about(expected[:4])


def test_the_share_that_climbs_is_whole_where_it_is_in_decimals() -> None:
    assert int(100 * 0.29) == 28
    schedule = SlantedTriangular(max_lr=1.0, cut_frac=0.29)
    assert lr(schedule, 28, 29, iterations=100) == about([(1 + 28 / 29 * 31) / 32, 1])


def test_slanted_triangular_as_published_falls_below_zero() -> None:
    iterations, cut = 109, math.floor(109 * 0.1)
    p = 1 - (iterations - 1 - cut) / (cut * (1 / 0.1 - 1))
    assert (1 + p * 31) / 32 < 0
    assert lr(SlantedTriangular(max_lr=1.0), 108, iterations=iterations) == [1 / 32]


def test_wsd() -> None:
    ends = {"lr": 1.0, "decay": 41}
    t = (0, 59, 60, 64, 70, 80, 100)
    falls = [1, 1, 1, 0.68377, 0.5, 0.29289, 0]
    assert lr(Wsd(**ends), *t, iterations=101) == about(falls, rel=2e-5)
    assert lr(Wsd(**ends, shape="linear", end_lr=0.2), 60, 80, 100, iterations=101) == about(
        [1, 0.6, 0.2]
    )
    assert lr(Wsd(**ends, shape="cosine"), 70, iterations=101) == about([(2 + math.sqrt(2)) / 4])
    trapezoid = Wsd(lr=1.0, warmup=10)
    assert lr(trapezoid, 0, 4, 9, 10, 90, 91, 109, iterations=110) == about(
        [0.1, 0.5, 1, 1, 1, 1 - math.sqrt(1 / 19), 0]
    )
    assert lr(Wsd(lr=1.0, decay=Fraction(fraction=1.0)), 0, 25, iterations=101) == [1, 0.5]
    assert lr(Wsd(lr=1.0, decay=500), 0, 25, iterations=101) == [1, 0.5]


def test_rex() -> None:
    found = lr(Rex(lr=1.0), 0, 25, 50, 75, 90, 100, iterations=101)
    assert found == about([1, 0.85714, 0.66667, 0.4, 0.18182, 0], rel=2e-5)


def test_inverse_sqrt_after_a_warm_up() -> None:
    w = 400
    schedule = InverseSqrt(lr=0.1, timescale=w, warmup=w)
    assert lr(schedule, 0, 199, 399, 400) == about([0.1 / 400, 0.05, 0.1, 0.1])
    t = np.array([400, 1600, 40_000])
    assert lr(schedule, *t) == about((0.1 * np.sqrt(w / t)).tolist())
    assert lr(InverseSqrt(lr=0.1, timescale=100), 0, 300) == about([0.1, 0.05])


def test_noam() -> None:
    """A step of Vaswani et al. is counted from 1."""
    schedule = Noam(d_model=512, warmup=4000)
    steps = (1, 4000, 16_000)
    expected = [512**-0.5 * min(s**-0.5, s * 4000**-1.5) for s in steps]
    assert lr(schedule, *(s - 1 for s in steps)) == about(expected)
    assert lr(Noam(d_model=512, warmup=4000, factor=2.0), 0) == about([2 * expected[0]])


def test_warm_up_begins_above_zero_and_ends_at_the_schedule() -> None:
    schedule = Linear(lr=1.0, warmup=4)
    expected = [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]
    assert lr(schedule, *range(9), iterations=9) == about(expected)
    late = Triangular(**BOUNDS, warmup=100)
    assert late.cycle_end(2) == 8100
    assert lr(late, 0, 99, 100, 2100) == about([1e-5, 0.001, 0.001, 0.006])


def test_momentum_of_a_warm_up_is_the_schedules_first() -> None:
    schedule = OneCycle(max_lr=1.0, warmup=50)
    momentum = schedule.momentum_at([0, 25, 50, 50 + 29], iterations=150)
    assert momentum == pytest.approx(np.array([0.95, 0.95, 0.95, 0.85]))


@given(st.floats(1e-9, 1), st.floats(1.5, 1e9), st.integers(2, 5000))
def test_ramps_climb_from_start_to_end(start: float, factor: float, n: int) -> None:
    end = min(start * factor, 1e6)
    for kind in ("exponential", "linear"):
        ramp = Ramp(start=start, end=end, iterations=n, ramp=kind)
        found = ramp.lr_at(np.arange(n + 5, dtype=float))
        assert found[0] == start
        assert found[n - 1] == pytest.approx(end, rel=1e-12)
        assert (found[n:] == found[n - 1]).all()
        assert (np.diff(found[:n]) >= 0).all()


def test_a_ramp_in_epochs_is_resolved() -> None:
    ramp = Ramp.model_validate({"iterations": {"epochs": 1.5}})
    with pytest.raises(UnresolvedError):
        ramp.lr_at(np.zeros(1))
    assert ramp.resolve(iterations_per_epoch=44).iterations == 66
    short = Ramp.model_validate({"iterations": {"epochs": 0.5}})
    with pytest.raises(ValidationError):
        short.resolve(iterations_per_epoch=2)


def test_ramp_values() -> None:
    found = Ramp(start=1e-4, end=1.0, iterations=5).lr_at(np.arange(5.0))
    np.testing.assert_allclose(found, [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    linear = Ramp(start=1.0, end=3.0, iterations=5, ramp="linear").lr_at(np.arange(5.0))
    assert linear.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
