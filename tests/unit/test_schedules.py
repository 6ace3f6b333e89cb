"""Schedules against written-out values, properties, and torch's own."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schedules import POLICIES, Constant, ExpRange, Schedule, Triangular, Triangular2
from schedules.ramp import Ramp
from schedules.schedule import Reference
from schedules.values import UnresolvedError

BOUNDS = {"base_lr": 0.001, "max_lr": 0.006, "step_size": 2000}


def lr(schedule: Schedule, *t: float) -> list[float]:
    return schedule.lr_at(t, iterations=100_000).tolist()


def about(values: list[float]) -> Any:
    return pytest.approx(values, rel=2e-6)


def test_constant() -> None:
    assert lr(Constant(lr=0.3), 0, 7, 99_999) == [0.3, 0.3, 0.3]


def test_triangular() -> None:
    t = (0, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000)
    expected = [0.001, 0.00225, 0.0035, 0.006, 0.0035, 0.001, 0.0035, 0.006, 0.001, 0.006]
    assert lr(Triangular(**BOUNDS), *t) == about(expected)


def test_triangular2() -> None:
    found = lr(Triangular2(**BOUNDS), 2000, 5000, 6000, 10_000, 14_000)
    assert found == about([0.006, 0.00225, 0.0035, 0.00225, 0.001625])


def test_exp_range_decays_the_amplitude_or_both_bounds() -> None:
    amplitude = ExpRange(**BOUNDS, gamma=0.99994)
    expected = [0.00221306, 0.00543459, 0.00448834, 0.00374401]
    assert lr(amplitude, 500, 2000, 6000, 10_000) == about(expected)
    both = ExpRange(**BOUNDS, gamma=0.99994, decay="both")
    expected = [0.0021835, 0.0053215, 0.000786622, 0.00329281]
    assert lr(both, 500, 2000, 4000, 10_000) == pytest.approx(expected, rel=1e-5)


def test_windows() -> None:
    assert lr(Triangular(**BOUNDS, window="welch"), 500, 1000) == about([0.0031875, 0.00475])
    found = lr(Triangular(**BOUNDS, window="hann"), 500, 1000)
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


@pytest.mark.parametrize(
    ("mode", "schedule"),
    [
        ("triangular", Triangular(**BOUNDS)),
        ("triangular2", Triangular2(**BOUNDS)),
        ("exp_range", ExpRange(**BOUNDS, gamma=0.99994)),
    ],
)
def test_torch_agrees(mode: str, schedule: Schedule) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=BOUNDS["base_lr"],
        max_lr=BOUNDS["max_lr"],
        step_size_up=2000,
        mode=mode,
        gamma=0.99994,
        cycle_momentum=False,
    )
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing is trained here
        for _ in range(13_000):
            found.append(theirs.get_last_lr()[0])
            theirs.step()
    ours = schedule.lr_at(np.arange(13_000), iterations=13_000)
    np.testing.assert_allclose(ours, found, rtol=1e-12)


RATES = st.floats(0, 10)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    policy = draw(st.sampled_from(POLICIES))
    if policy is Constant:
        return Constant(lr=draw(RATES))
    low, high = sorted((draw(RATES), draw(RATES)))
    fields: dict[str, Any] = {
        "base_lr": low,
        "max_lr": high,
        "step_size": draw(st.integers(1, 10**6)),
        "window": draw(st.sampled_from(["triangular", "welch", "hann"])),
    }
    if policy is ExpRange:
        fields["gamma"] = draw(st.floats(0.5, 1))
        fields["decay"] = draw(st.sampled_from(["amplitude", "both"]))
    if draw(st.booleans()):
        momenta = sorted((draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))))
        fields["base_momentum"], fields["max_momentum"] = momenta
    return policy(**fields)


@given(schedules(), st.integers(1, 10**9), st.lists(st.integers(0, 10**10), min_size=1, max_size=9))
def test_pure_finite_clamped(schedule: Schedule, iterations: int, t: list[int]) -> None:
    found = schedule.lr_at(t, iterations=iterations)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    one_by_one = [float(schedule.lr_at(i, iterations=iterations)) for i in t]
    assert found.tolist() == one_by_one
    clamped = schedule.lr_at(np.minimum(t, iterations - 1), iterations=iterations)
    assert found.tolist() == clamped.tolist()
    momentum = schedule.momentum_at(t, iterations=iterations)
    if momentum is not None:
        assert ((momentum >= -1e-15) & (momentum < 1)).all()


@given(schedules())
def test_a_schedule_survives_json(schedule: Schedule) -> None:
    assert type(schedule).model_validate_json(schedule.model_dump_json()) == schedule


@given(st.integers(1, 10**6), st.integers(0, 1000))
def test_cycles_begin_at_the_base_and_peak_in_the_middle(step_size: int, number: int) -> None:
    schedule = Triangular(base_lr=0.1, max_lr=0.9, step_size=step_size)
    begin = 2 * step_size * number
    found = schedule.lr_at([begin, begin + step_size, begin + 2 * step_size], iterations=10**12)
    np.testing.assert_allclose(found, [0.1, 0.9, 0.1], rtol=1e-9)
    assert schedule.cycle_end(1) == 2 * step_size


def test_momentum_runs_against_the_rate() -> None:
    schedule = Triangular(**BOUNDS, base_momentum=0.8, max_momentum=0.95)
    found = schedule.momentum_at([0, 1000, 2000, 4000], iterations=10_000)
    assert found is not None
    np.testing.assert_allclose(found, [0.95, 0.875, 0.8, 0.95])
    assert Triangular(**BOUNDS).momentum_at([0], iterations=1) is None
    halved = Triangular2(**BOUNDS, base_momentum=0.8, max_momentum=0.9)
    second = halved.momentum_at(6000, iterations=10_000)
    assert second == pytest.approx(0.85)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_lr": 0.0001},
        {"base_lr": -1.0},
        {"base_lr": float("nan")},
        {"max_lr": float("inf")},
        {"step_size": 0},
        {"step_size": 1.5},
        {"base_momentum": 0.9},
        {"base_momentum": 0.9, "max_momentum": 0.8},
        {"max_momentum": 1.0, "base_momentum": 0.5},
        {"gamma": 0.9},
    ],
)
def test_what_makes_no_cycle_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Triangular(**{**BOUNDS, **wrong})


def test_epochs_and_references_are_resolved_before_use() -> None:
    given_ = {"base_lr": {"range_test": "job_1"}, "max_lr": 0.1, "step_size": {"epochs": 1.5}}
    schedule = Triangular.model_validate(given_)
    assert schedule.references() == [Reference("/base_lr", "job_1", "base_lr")]
    with pytest.raises(UnresolvedError):
        schedule.lr_at(0, iterations=1)
    ready = schedule.with_rates({"/base_lr": 0.01}).resolve(iterations_per_epoch=45)
    assert (ready.base_lr, ready.step_size) == (0.01, 68)
    assert ready.references() == []
    with pytest.raises(ValidationError, match="must be >= base_lr"):
        schedule.with_rates({"/base_lr": 0.2})


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
