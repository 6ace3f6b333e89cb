"""What a range test's analysis is held to: the same answer to the same curve, however it comes."""

import json
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schedules.analysis import Family, Loss, Status, analyse
from schedules.values import F64
from tests.curves import EDGE, bowl, bowls, decades, edge_of, ramp, read


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("change", [lambda y: 1000 * y, lambda y: y - 100, lambda y: y / 7 + 3])
def test_scale_and_shift_give_the_identical_answer(
    change: Callable[[F64], F64], dtype: type[np.floating]
) -> None:
    lr = ramp()
    plain = read(lr, [loss.astype(dtype) for loss in bowls(lr)])
    moved = read(lr, [change(loss.astype(dtype)) for loss in bowls(lr)])
    assert moved.suggestion == plain.suggestion
    assert moved.interval == plain.interval
    assert moved.landmarks == plain.landmarks


def test_noise_on_the_parabola_moves_the_answer_by_less_than_a_third_of_a_decade() -> None:
    """The fixture that finders are shown with: it falls to the end, so there is no edge."""
    x, lr = np.linspace(-50, 50, 100), np.geomspace(1e-8, 1, 100)
    plain = (-(x**2) - 30 * x + 4000) / 1000
    clean = read(lr, [plain])
    for seed in range(20):
        found = read(lr, [plain + np.random.default_rng(seed).uniform(-0.1, 0.1, 100)])
        assert (found.status, found.suggestion) == (Status.NO_EDGE_IN_RANGE, None)
        assert decades(found.landmarks.lr_min, clean.landmarks.lr_min) < 0.3
        assert decades(found.landmarks.lr_start, clean.landmarks.lr_start) < 0.3


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("repeats", [1, 3])
def test_noise_moves_the_edge_by_less_than_a_third_of_a_decade(noise: float, repeats: int) -> None:
    lr = ramp(100)
    for seed in range(10):
        found = read(lr, bowls(lr, noise=noise, seed=seed, repeats=repeats))
        assert decades(edge_of(found), EDGE) < 0.3


@pytest.mark.parametrize("spike", [3.0, 100.0, 1e30, -5.0, np.inf, np.nan])
@pytest.mark.parametrize("n", [100, 300])
def test_one_spike_at_iteration_12_is_ignored(spike: float, n: int) -> None:
    lr = ramp(n)
    losses = bowl(lr)
    plain = read(lr, [losses.copy()])
    losses[12] += spike
    assert read(lr, [losses]).suggestion == plain.suggestion


@pytest.mark.parametrize("recorded", [1, 3, 50])
def test_a_nan_tail_is_an_edge(recorded: int) -> None:
    lr = ramp()
    end = int(np.searchsorted(lr, 0.1))
    tail = np.full(recorded, np.nan)
    losses = [np.concatenate([loss[:end], tail]) for loss in bowls(lr)]
    assert edge_of(read(lr, losses)) == pytest.approx(0.1, rel=0.15)


def test_negative_losses_are_losses() -> None:
    lr = ramp()
    assert edge_of(read(lr, [loss - 1.5 for loss in bowls(lr)])) == edge_of(read(lr, bowls(lr)))


@pytest.mark.parametrize(
    ("losses", "status"),
    [
        (np.full(300, 2.3), Status.NO_DESCENT),
        (np.zeros(300), Status.NO_DESCENT),
        (np.linspace(5, 1, 300), Status.NO_EDGE_IN_RANGE),
        (np.linspace(1, 5, 300), Status.DIVERGED_AT_START),
    ],
    ids=["flat", "zero", "falling", "rising"],
)
def test_flat_and_monotone_losses_have_a_status_and_no_suggestion(
    losses: F64, status: Status
) -> None:
    found = read(ramp(), [losses])
    assert (found.status, found.suggestion, found.interval) == (status, None, None)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_100_and_300_iterations_find_the_edge_within_a_seventh_of_a_decade(noise: float) -> None:
    for seed in range(5):
        edges = [
            edge_of(read(ramp(n), bowls(ramp(n), noise=noise, seed=seed)))
            for n in (100, 300, 1000, 5000)
        ]
        assert decades(min(edges), max(edges)) < 0.15


def descent(lr: F64, curvatures: F64, *, momentum: float, noise: float, seed: int) -> F64:
    """Losses of gradient descent on a quadratic, each before its update."""
    random, x, losses = np.random.default_rng(seed), np.ones(curvatures.size), []
    velocity = np.zeros(curvatures.size)
    for rate in lr:
        losses.append(0.5 * np.sum(curvatures * x**2))
        gradient = curvatures * x + noise * random.standard_normal(curvatures.size)
        velocity = momentum * velocity + gradient
        x = np.clip(x - rate * velocity, -1e100, 1e100)
    return np.array(losses)


@pytest.mark.parametrize(
    ("low", "high", "noise"),
    [(1e-4, 10, 0.01), (1e-4, 10, 0.03), (1e-5, 100, 0.03), (1e-3, 10, 0.03)],
)
@pytest.mark.parametrize("dimensions", [1, 10])
def test_a_quadratic_has_its_edge_at_the_limit_of_stability(
    low: float, high: float, noise: float, dimensions: int
) -> None:
    curvatures, lr = np.geomspace(1, 0.01, dimensions), np.geomspace(low, high, 500)
    losses = [descent(lr, curvatures, momentum=0.0, noise=noise, seed=seed) for seed in range(3)]
    assert 1 <= edge_of(analyse(lr, losses, family="sgd")) / 2 <= 1.4


def test_with_momentum_the_limit_is_higher() -> None:
    lr, curvatures = np.geomspace(1e-4, 10, 500), np.geomspace(1, 0.01, 10)
    losses = [descent(lr, curvatures, momentum=0.9, noise=0.01, seed=seed) for seed in range(3)]
    assert edge_of(analyse(lr, losses, family="sgd")) == pytest.approx(2 * 1.9, rel=0.15)


SERIES = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 450),
    elements=st.floats(width=32) | st.floats(-5, 5, width=32),
) | st.lists(st.floats(), max_size=60).map(np.array)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 400),
    st.lists(SERIES, max_size=4),
    st.sampled_from(["sgd", "adam"]),
    st.sampled_from(["batch", "probe", "validation"]),
    st.data(),
)
def test_anything_gets_a_status(
    n: int, losses: list[F64], family: Family, loss: Loss, data: st.DataObject
) -> None:
    """And never an exception or a warning, which pytest makes one of."""
    found = analyse(
        data.draw(st.sampled_from([np.geomspace, np.linspace]))(1e-7, 10, n),
        losses,
        family=family,
        loss=loss,
        diverged=data.draw(st.sampled_from([[], [True] * len(losses)])),
        accuracies=data.draw(st.sampled_from([[], losses])),
    )
    text = json.dumps(found.result(), allow_nan=False)
    assert json.loads(text) == found.result()
    assert (found.suggestion is not None) == (found.status is Status.OK)
    assert (found.result()["advice"] is None) == (found.status is Status.OK)


def test_ten_thousand_iterations_are_read_in_fifty_milliseconds() -> None:
    lr = ramp(10_000)
    losses = bowls(lr)
    seconds = []
    for _ in range(5):
        since = time.process_time()
        read(lr, losses)
        seconds.append(time.process_time() - since)
    assert min(seconds) < 0.05
