"""A range test's losses become landmarks, a suggestion and a status, whatever they are."""

import doctest
import importlib
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schedules import Policy
from schedules.analysis import (
    ADVICE,
    DIVISORS,
    Family,
    Status,
    analyse,
    divergence,
    has_risen,
)
from schedules.values import F64
from tests.curves import EDGE, bowl, bowls, decades, edge_of, ramp, read

MODULES = (
    "schedules.analysis",
    "schedules.analysis.agreement",
    "schedules.analysis.compat",
    "schedules.analysis.curve",
    "schedules.analysis.divergence",
    "schedules.analysis.fastai",
    "schedules.analysis.landmarks",
    "schedules.analysis.reading",
    "schedules.analysis.smoothing",
    "schedules.analysis.steepest",
    "schedules.cyclical",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


# What it finds


def test_the_landmarks_lie_where_the_curve_has_them() -> None:
    lr = ramp()
    marks = read(lr, bowls(lr)).landmarks
    assert marks.lr_start == pytest.approx(0.001 * (0.05 / 0.95) ** (2 / 3), rel=0.3)
    assert marks.lr_steep == pytest.approx(0.001, rel=0.5)
    assert marks.lr_edge == pytest.approx(EDGE, rel=0.1)
    assert marks.lr_ragged is None
    assert marks.lr_steep < marks.lr_min < marks.lr_edge


@pytest.mark.parametrize(("family", "divisor"), [("sgd", 4), ("adam", 8)])
def test_the_suggestion_follows_from_the_edge(family: Family, divisor: int) -> None:
    lr = ramp()
    found = read(lr, bowls(lr), family)
    assert found.suggestion is not None
    assert found.suggestion.max_lr == edge_of(found) / divisor
    assert found.suggestion.base_lr == found.suggestion.max_lr / 4
    assert found.suggestion.fixed_lr == edge_of(found) / DIVISORS[family]["first"]


POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)


@pytest.mark.parametrize("family", ["sgd", "adam"])
def test_suggested_schedules_are_schedules_but_for_their_lengths(family: Family) -> None:
    lr = ramp()
    found = read(lr, bowls(lr), family)
    assert found.suggestion is not None
    lengths = {"triangular": {"step_size": 100}}
    peaks = {}
    for name, schedule in found.suggestion.schedules.items():
        whole = POLICY.validate_python({**schedule, **lengths.get(name, {})})
        peaks[name] = whole.lr_at(np.arange(1000), iterations=1000).max()
    edge, over = edge_of(found), DIVISORS[family]
    assert peaks == pytest.approx(
        {
            "triangular": edge / over["peak"],
            "one_cycle": edge / over["peak"],
            "one_cycle_smith": edge / over["peak"],
            "cosine": edge / over["first"],
            "constant": edge / over["first"],
        },
        rel=0.01,
    )
    for name, divisor in (("one_cycle", 25), ("one_cycle_smith", 10)):
        first = POLICY.validate_python(found.suggestion.schedules[name]).lr_at(0, iterations=1000)
        assert first == pytest.approx(edge / over["peak"] / divisor)


def test_a_loss_before_its_update_belongs_to_the_rate_before() -> None:
    lr = ramp()
    after, before = read(lr, bowls(lr)), analyse(lr, bowls(lr), family="sgd")
    for name in ("lr_start", "lr_steep", "lr_min", "lr_edge"):
        ratio = getattr(before.landmarks, name) / getattr(after.landmarks, name)
        assert ratio == pytest.approx(lr[0] / lr[1]), name
    assert before.compat == after.compat  # other finders have it otherwise


def test_a_late_descent_raises_the_base() -> None:
    lr = ramp()
    loss = np.where(lr < 0.07, 2.3, 0.3) + (lr / 0.5) ** 4
    suggestion = read(lr, [loss]).suggestion
    assert suggestion is not None
    assert suggestion.max_lr / 4 < suggestion.base_lr <= suggestion.max_lr / 3


def test_scatter_before_the_edge_is_a_landmark_of_its_own() -> None:
    lr = ramp()
    losses = bowls(lr)
    wild = (lr > 0.05) & (lr < EDGE)
    for seed, loss in enumerate(losses):
        loss[wild] += 0.6 * np.random.default_rng(seed).standard_normal(wild.sum())
    found = read(lr, losses)
    assert found.landmarks.lr_ragged is not None
    assert 0.03 < found.landmarks.lr_ragged < 0.2


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize("first", [0.001, 0.01])
def test_a_linear_ramp_works_too(n: int, first: float) -> None:
    """What falls in its first few iterations is still a descent, and the edge where it is."""
    lr = np.linspace(first, 1, n)
    loss = 0.3 + 2 / (1 + (lr / 0.03) ** 2) + 0.5 * (lr / EDGE) ** 4
    marks = read(lr, [loss]).landmarks
    assert marks.lr_edge == pytest.approx(EDGE, rel=0.15)
    assert marks.lr_start is not None
    assert marks.lr_start < 0.05


# What must not matter


def test_stopping_where_a_repeat_diverged_changes_nothing() -> None:
    lr = ramp()
    losses = bowls(lr)
    stopped = [loss[: divergence(loss, planned=lr.size)] for loss in losses]
    assert max(map(len, stopped)) < lr.size
    whole, short = (read(lr, each) for each in (losses, stopped))
    assert (whole.suggestion, whole.interval) == (short.suggestion, short.interval)


@pytest.mark.parametrize("kind", ["probe", "validation"])
def test_repeats_that_were_stopped_count_as_gone_whatever_loss_is_read(
    kind: Literal["probe", "validation"],
) -> None:
    lr = ramp(60)
    end = int(np.searchsorted(lr, 0.1))
    stopped = [loss[:end] for loss in bowls(lr)]
    found = analyse(lr, stopped, family="sgd", loss=kind, diverged=[True] * 3)
    assert edge_of(found) == pytest.approx(0.1, rel=0.4)
    assert analyse(lr, stopped, family="sgd", loss=kind).status is Status.NO_EDGE_IN_RANGE


def test_a_repeat_that_dies_early_is_outvoted() -> None:
    lr = ramp()
    losses = bowls(lr)
    losses[1][100:] = np.nan
    assert edge_of(read(lr, losses)) == pytest.approx(EDGE, rel=0.2)


# How sure it is


def test_the_interval_holds_the_suggestion_and_spans_repeats_that_disagree() -> None:
    lr = ramp()
    agreeing = read(lr, bowls(lr))
    differing = [bowl(lr, edge=edge, seed=i) for i, edge in enumerate((0.1, 0.5, 2.0))]
    wide = read(lr, differing)
    for found in (agreeing, wide):
        assert found.interval is not None
        assert found.suggestion is not None
        assert found.interval[0] <= found.suggestion.max_lr <= found.interval[1]
    assert decades(*agreeing.interval) < 0.1
    assert wide.interval == pytest.approx((0.025, 0.5), rel=0.15)


def test_one_repeat_has_no_interval() -> None:
    assert read(ramp(), [bowl(ramp())]).interval is None


def test_the_same_losses_give_the_same_answer() -> None:
    lr = ramp()
    first, second = (read(lr, bowls(lr, repeats=8)).result() for _ in range(2))
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
    found = read(ramp(), losses).result()
    assert (found["status"], found["suggestion"], found["interval"]) == (status, None, None)


def test_what_ends_above_its_beginning_has_risen() -> None:
    noise = np.random.default_rng(0).normal(2.3, 0.05, 100)
    assert not has_risen(noise)
    assert not has_risen(noise - np.linspace(0, 1, 100))
    assert has_risen(noise + np.linspace(0, 1, 100))
    assert has_risen([*noise, np.nan])


def test_every_status_is_reached_and_has_advice() -> None:
    assert {status for _, status in STATUSES} == set(Status) - {Status.OK}
    assert ADVICE.keys() == set(Status) - {Status.OK}
    for sentence in ADVICE.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize("n", [0, 1, 19])
def test_short_ramps_are_insufficient(n: int) -> None:
    lr = ramp(n)
    assert read(lr, bowls(lr)).status is Status.INSUFFICIENT_POINTS


@pytest.mark.parametrize("n", [50, 300, 1000])
def test_mere_noise_is_no_descent(n: int) -> None:
    lr = ramp(n)
    for seed in range(20):
        losses = np.random.default_rng(seed).standard_normal((3, n))
        assert read(lr, list(losses)).status is Status.NO_DESCENT


def test_the_landmarks_of_a_descent_stand_without_an_edge() -> None:
    found = read(ramp(), around(FALLING)).result()["landmarks"]
    assert found["lr_edge"] is None
    assert found["lr_start"] < found["lr_steep"] < found["lr_min"]


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 400), st.floats(0, 0.3), st.integers(0, 1000), st.floats(-5, 3))
def test_what_has_an_edge_gets_bounds_in_order(
    n: int, noise: float, seed: int, offset: float
) -> None:
    lr = ramp(n) * 10**offset
    found = read(lr, [loss - 1 for loss in bowls(ramp(n), noise=noise, seed=seed)], "adam")
    if found.suggestion is not None:
        low, fixed, high = (
            found.suggestion.base_lr,
            found.suggestion.fixed_lr,
            found.suggestion.max_lr,
        )
        assert lr[0] / 12 <= low < fixed < high < lr[-1]


def test_results_keep_their_form() -> None:
    lr = ramp()
    found = read(lr, bowls(lr)).result()
    assert list(found) == [
        "status",
        "advice",
        "suggestion",
        "interval",
        "landmarks",
        "accuracy",
        "compat",
    ]
    assert type(found["status"]) is str
    assert list(found["suggestion"]) == ["base_lr", "max_lr", "fixed_lr", "schedules"]
    assert list(found["interval"]) == ["max_lr"]
    assert list(found["compat"]) == [
        "valley",
        "slide",
        "minimum",
        "steep",
        "torch_lr_finder",
        "lightning",
        "ignite",
    ]
    assert found["advice"] is None
    assert found["accuracy"] is None
