"""A range test's losses become landmarks, a suggestion and a status, whatever they are."""

import doctest
import importlib
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schedules.analysis import Analysis, Family, Status, analyse, divergence
from schedules.values import F64

EDGE = 0.5
MODULES = (
    "schedules.analysis",
    "schedules.analysis.compat",
    "schedules.analysis.curve",
    "schedules.analysis.divergence",
    "schedules.analysis.landmarks",
    "schedules.analysis.smoothing",
    "schedules.cyclical",
)


def ramp(n: int = 300) -> F64:
    return np.geomspace(1e-7, 10, n)


def bowl(lr: F64, *, edge: float = EDGE, noise: float = 0.05, seed: int = 0) -> F64:
    """Falls from 2.3 to .3 around .001, and has regained a quarter of that at `edge`."""
    loss = 0.3 + 2 / (1 + (lr / 0.001) ** 1.5) + 0.5 * (lr / edge) ** 3
    return loss + noise * np.random.default_rng(seed).standard_normal(lr.size)


def bowls(lr: F64, *, noise: float = 0.05, seed: int = 0, repeats: int = 3) -> list[F64]:
    return [bowl(lr, noise=noise, seed=100 * seed + each) for each in range(repeats)]


def edge_of(found: Analysis) -> float:
    assert found.status is Status.OK
    assert found.landmarks.lr_edge is not None
    return found.landmarks.lr_edge


def decades(one: float, other: float) -> float:
    return abs(float(np.log10(one / other)))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


# What it finds


def test_the_landmarks_lie_where_the_curve_has_them() -> None:
    lr = ramp()
    marks = analyse(lr, bowls(lr), family="sgd").landmarks
    assert marks.lr_start == pytest.approx(0.001 * (0.05 / 0.95) ** (2 / 3), rel=0.3)
    assert marks.lr_steep == pytest.approx(0.001, rel=0.5)
    assert marks.lr_edge == pytest.approx(EDGE, rel=0.1)
    assert marks.lr_ragged is None
    assert marks.lr_steep < marks.lr_min < marks.lr_edge


@pytest.mark.parametrize(("family", "divisor"), [("sgd", 2), ("adam", 3)])
def test_the_suggestion_follows_from_the_edge(family: Family, divisor: int) -> None:
    lr = ramp()
    found = analyse(lr, bowls(lr), family=family)
    assert found.suggestion is not None
    assert found.suggestion.max_lr == edge_of(found) / divisor
    assert found.suggestion.base_lr == found.suggestion.max_lr / 4
    assert found.suggestion.fixed_lr == found.suggestion.max_lr / 2


def test_a_late_descent_raises_the_base() -> None:
    lr = ramp()
    loss = np.where(lr < 0.07, 2.3, 0.3) + (lr / 0.5) ** 4
    suggestion = analyse(lr, [loss], family="sgd").suggestion
    assert suggestion is not None
    assert suggestion.max_lr / 4 < suggestion.base_lr <= suggestion.max_lr / 3


def test_scatter_before_the_edge_lowers_the_peak() -> None:
    lr = ramp()
    losses = bowls(lr)
    wild = (lr > 0.05) & (lr < EDGE)
    for seed, loss in enumerate(losses):
        loss[wild] += 0.6 * np.random.default_rng(seed).standard_normal(wild.sum())
    found = analyse(lr, losses, family="sgd")
    assert found.landmarks.lr_ragged is not None
    assert 0.03 < found.landmarks.lr_ragged < 0.2
    assert found.suggestion is not None
    assert found.suggestion.max_lr == found.landmarks.lr_ragged / 2


def test_a_linear_ramp_works_too() -> None:
    lr = np.linspace(1e-4, 1, 300)
    loss = 0.3 + 2 / (1 + (lr / 0.05) ** 2) + 0.5 * (lr / EDGE) ** 4
    assert edge_of(analyse(lr, [loss], family="sgd")) == pytest.approx(EDGE, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high", "noise"),
    [(1e-4, 10, 0.01), (1e-4, 10, 0.03), (1e-5, 100, 0.03), (1e-3, 10, 0.03)],
)
@pytest.mark.parametrize("dimensions", [1, 10])
def test_gradient_descent_on_a_quadratic_leaves_at_two_over_lambda(
    low: float, high: float, noise: float, dimensions: int
) -> None:
    curvatures, lr = np.geomspace(1, 0.01, dimensions), np.geomspace(low, high, 500)

    def descend(seed: int) -> F64:
        random, x, losses = np.random.default_rng(seed), np.ones(dimensions), []
        for rate in lr:
            losses.append(0.5 * np.sum(curvatures * x**2))
            gradient = curvatures * x + noise * random.standard_normal(dimensions)
            x = np.clip(x - rate * gradient, -1e100, 1e100)
        return np.array(losses)

    found = analyse(lr, [descend(seed) for seed in range(3)], family="sgd")
    assert 1 <= edge_of(found) / 2 <= 1.4


# What must not matter


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("change", [lambda y: 1000 * y, lambda y: y - 100, lambda y: y / 7 + 3])
def test_scale_and_shift_give_the_identical_answer(
    change: Callable[[F64], F64], dtype: type[np.floating]
) -> None:
    lr = ramp()
    plain = analyse(lr, [loss.astype(dtype) for loss in bowls(lr)], family="sgd")
    moved = analyse(lr, [change(loss.astype(dtype)) for loss in bowls(lr)], family="sgd")
    assert moved.suggestion == plain.suggestion
    assert moved.interval == plain.interval
    assert moved.landmarks == plain.landmarks


def test_the_well_known_fixture_has_no_edge_and_noise_hardly_moves_its_landmarks() -> None:
    x, lr = np.linspace(-50, 50, 100), np.geomspace(1e-8, 1, 100)
    plain = (-(x**2) - 30 * x + 4000) / 1000
    clean = analyse(lr, [plain], family="sgd")
    for seed in range(20):
        noisy = plain + np.random.default_rng(seed).uniform(-0.1, 0.1, 100)
        found = analyse(lr, [noisy], family="sgd")
        assert (found.status, found.suggestion) == (Status.NO_EDGE_IN_RANGE, None)
        assert decades(found.landmarks.lr_min, clean.landmarks.lr_min) < 0.3
        assert decades(found.landmarks.lr_start, clean.landmarks.lr_start) < 0.3


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("repeats", [1, 3])
def test_noise_moves_the_edge_by_less_than_a_third_of_a_decade(noise: float, repeats: int) -> None:
    lr = ramp(100)
    for seed in range(10):
        found = analyse(lr, bowls(lr, noise=noise, seed=seed, repeats=repeats), family="sgd")
        assert decades(edge_of(found), EDGE) < 0.3


@pytest.mark.parametrize("spike", [3.0, 100.0, 1e30, -5.0, np.inf, np.nan])
@pytest.mark.parametrize("n", [100, 300])
def test_one_spike_is_ignored(spike: float, n: int) -> None:
    lr = ramp(n)
    losses = bowl(lr)
    plain = analyse(lr, [losses.copy()], family="sgd")
    losses[12] += spike
    spiked = analyse(lr, [losses], family="sgd")
    assert spiked.suggestion == plain.suggestion


def test_the_number_of_iterations_hardly_matters() -> None:
    for seed in range(5):
        edges = [
            edge_of(analyse(ramp(n), bowls(ramp(n), noise=0.1, seed=seed), family="sgd"))
            for n in (100, 300, 1000, 5000)
        ]
        assert decades(min(edges), max(edges)) < 0.15


def test_stopping_where_a_repeat_diverged_changes_nothing() -> None:
    lr = ramp()
    losses = bowls(lr)
    stopped = [loss[: divergence(loss, planned=lr.size)] for loss in losses]
    assert max(map(len, stopped)) < lr.size
    whole, short = (analyse(lr, each, family="sgd") for each in (losses, stopped))
    assert (whole.suggestion, whole.interval) == (short.suggestion, short.interval)


@pytest.mark.parametrize("recorded", [1, 3, 50])
def test_a_tail_that_is_not_finite_is_an_edge(recorded: int) -> None:
    lr = ramp()
    end = int(np.searchsorted(lr, 0.1))
    tail = np.full(recorded, np.nan)
    losses = [np.concatenate([loss[:end], tail]) for loss in bowls(lr)]
    assert edge_of(analyse(lr, losses, family="sgd")) == pytest.approx(0.1, rel=0.15)


def test_a_repeat_that_dies_early_is_outvoted() -> None:
    lr = ramp()
    losses = bowls(lr)
    losses[1][100:] = np.nan
    assert edge_of(analyse(lr, losses, family="sgd")) == pytest.approx(EDGE, rel=0.2)


# How sure it is


def test_the_interval_holds_the_suggestion_and_spans_repeats_that_disagree() -> None:
    lr = ramp()
    agreeing = analyse(lr, bowls(lr), family="sgd")
    differing = [bowl(lr, edge=edge, seed=i) for i, edge in enumerate((0.1, 0.5, 2.0))]
    wide = analyse(lr, differing, family="sgd")
    for found in (agreeing, wide):
        assert found.interval is not None
        assert found.suggestion is not None
        assert found.interval[0] <= found.suggestion.max_lr <= found.interval[1]
    assert decades(*agreeing.interval) < 0.1
    assert wide.interval == pytest.approx((0.05, 1.0), rel=0.15)


def test_one_repeat_has_no_interval() -> None:
    assert analyse(ramp(), [bowl(ramp())], family="sgd").interval is None


def test_the_same_losses_give_the_same_answer() -> None:
    lr = ramp()
    first, second = (analyse(lr, bowls(lr, repeats=8), family="sgd").result() for _ in range(2))
    assert first == second


# Statuses


def booming(start: int, n: int = 300) -> F64:
    return 2.3 + np.exp(np.clip(np.arange(n) - start, -50, 60.0))


def around(level: F64, noise: float = 0.05) -> list[F64]:
    random = np.random.default_rng(0)
    return [level + noise * random.standard_normal(level.size) for _ in range(3)]


FLAT, NAN = np.full(300, 2.3), np.full(300, np.nan)
FALLING = 0.3 + 2 / (1 + ramp() / 0.001)

STATUSES = [
    (around(FLAT), "no_descent"),
    ([FLAT], "no_descent"),
    ([np.zeros(300)], "no_descent"),
    ([np.where(np.arange(300) < 150, FLAT, NAN)], "no_descent"),
    (around(booming(200)), "no_descent"),
    (around(FALLING), "no_edge_in_range"),
    ([np.linspace(5, 1, 300)], "no_edge_in_range"),
    ([np.linspace(-5, -9, 300)], "no_edge_in_range"),
    (around(booming(10)), "diverged_at_start"),
    (around(np.linspace(0, 5, 300)), "diverged_at_start"),
    ([np.linspace(0, 5, 300)], "diverged_at_start"),
    (
        [np.concatenate([[2.3, 40.0, 90.0], 1 + 80 / (1 + np.arange(297) / 40)])],
        "diverged_at_start",
    ),
    ([np.concatenate([FLAT[:18], NAN[:12]])], "diverged_at_start"),
    ([np.array([2.3, np.nan])], "diverged_at_start"),
    (around(FALLING + 0.5 * (ramp() / EDGE) ** 3, noise=2.0), "too_noisy"),
    ([NAN], "nonfinite"),
    ([np.full(300, np.inf)] * 3, "nonfinite"),
    ([np.array([np.nan])], "nonfinite"),
    ([NAN, NAN, FLAT], "nonfinite"),
    ([], "insufficient_points"),
    ([np.empty(0)], "insufficient_points"),
    ([np.empty(0)] * 3, "insufficient_points"),
    ([np.array([2.3])], "insufficient_points"),
]


@pytest.mark.parametrize(("losses", "status"), STATUSES)
def test_every_outcome_has_a_status(losses: list[F64], status: str) -> None:
    found = analyse(ramp(), losses, family="sgd").result()
    assert (found["status"], found["suggestion"], found["interval"]) == (status, None, None)


def test_every_status_is_reached() -> None:
    assert {status for _, status in STATUSES} == set(Status) - {Status.OK}


@pytest.mark.parametrize("n", [0, 1, 19])
def test_short_ramps_are_insufficient(n: int) -> None:
    lr = ramp(n)
    assert analyse(lr, bowls(lr), family="sgd").status is Status.INSUFFICIENT_POINTS


@pytest.mark.parametrize("n", [50, 300, 1000])
def test_mere_noise_is_no_descent(n: int) -> None:
    lr = ramp(n)
    for seed in range(20):
        losses = np.random.default_rng(seed).standard_normal((3, n))
        assert analyse(lr, list(losses), family="sgd").status is Status.NO_DESCENT


def test_the_landmarks_of_a_descent_stand_without_an_edge() -> None:
    found = analyse(ramp(), around(FALLING), family="sgd").result()["landmarks"]
    assert found["lr_edge"] is None
    assert found["lr_start"] < found["lr_steep"] < found["lr_min"]


SERIES = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 450),
    elements=st.floats(width=32) | st.floats(-5, 5, width=32),
) | st.lists(st.floats(), max_size=60).map(np.array)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.lists(SERIES, max_size=4), st.sampled_from(["sgd", "adam"]))
def test_anything_gets_a_status(n: int, losses: list[F64], family: Family) -> None:
    found = analyse(ramp(n), losses, family=family)
    text = json.dumps(found.result(), allow_nan=False)
    assert json.loads(text) == found.result()
    assert (found.suggestion is not None) == (found.status is Status.OK)


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 400), st.floats(0, 0.3), st.integers(0, 1000), st.floats(-5, 3))
def test_what_has_an_edge_gets_bounds_in_order(
    n: int, noise: float, seed: int, offset: float
) -> None:
    lr = ramp(n) * 10**offset
    found = analyse(
        lr, [loss - 1 for loss in bowls(ramp(n), noise=noise, seed=seed)], family="adam"
    )
    if found.suggestion is not None:
        low, fixed, high = (
            found.suggestion.base_lr,
            found.suggestion.fixed_lr,
            found.suggestion.max_lr,
        )
        assert lr[0] / 12 <= low < fixed < high < lr[-1]


def test_results_keep_their_form() -> None:
    lr = ramp()
    found = analyse(lr, bowls(lr), family="sgd").result()
    assert list(found) == [
        "status",
        "suggestion",
        "interval",
        "agreement",
        "landmarks",
        "compat",
    ]
    assert type(found["status"]) is str
    assert list(found["suggestion"]) == ["base_lr", "max_lr", "fixed_lr"]
    assert list(found["interval"]) == ["max_lr"]
    assert list(found["compat"]) == ["valley", "slide", "minimum", "steep"]
    assert found["agreement"] is None
