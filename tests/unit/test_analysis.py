"""The analysis of a range test: right places, and nothing that scale, noise or accidents change."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schedules.analysis import Analysis, Family, analyse, divergence
from schedules.analysis.compat import moving_average, suggestions
from schedules.analysis.smoothing import local_linear, noise, smooth

F64 = np.ndarray


def ramp(n: int, low: float = 1e-7, high: float = 10.0) -> F64:
    return np.geomspace(low, high, n)


def network(lr: F64, *, edge: float = 0.5, seed: int = 0, sigma: float = 0.05) -> F64:
    """Loss of a network on a ramp: flat, a descent around 1e-3, an explosion past the edge."""
    descent = 2.3 - 2 / (1 + 1e-3 / lr)
    rise = np.minimum((lr / edge) ** 3, 1e4)
    return descent + rise + sigma * np.random.default_rng(seed).normal(size=len(lr))


def three(n: int = 300, **kw: Any) -> tuple[F64, list[F64]]:
    lr = ramp(n)
    return lr, [network(lr, seed=seed, **kw) for seed in range(3)]


def decades(a: float, b: float) -> float:
    return abs(float(np.log10(a / b)))


def top(found: Analysis) -> float:
    assert found.status == "ok"
    assert found.suggestion is not None
    return found.suggestion["max_lr"]


def edge(found: Analysis) -> float:
    found_edge = found.landmarks["lr_edge"]
    assert found_edge is not None
    return found_edge


def test_the_suggestion_lies_below_the_edge_and_above_the_start() -> None:
    found = analyse(*three(), family="sgd")
    marks = found.landmarks
    order = [marks[name] for name in ("lr_start", "lr_steep", "lr_min", "lr_edge")]
    assert order == sorted(order)
    assert decades(edge(found), 0.5) < 0.2
    assert found.suggestion is not None
    assert found.suggestion["max_lr"] == edge(found) / 2
    assert 1 / 4 <= found.suggestion["base_lr"] / found.suggestion["max_lr"] <= 1 / 3 + 1e-12
    assert found.suggestion["fixed_lr"] == found.suggestion["max_lr"] / 2


def test_the_adam_family_needs_more_distance() -> None:
    assert top(analyse(*three(), family="adam")) == edge(analyse(*three(), family="sgd")) / 3


@pytest.mark.parametrize("change", [lambda y: 1000 * y, lambda y: y - 100, lambda y: y / 7 + 3])
def test_scale_and_shift_change_nothing(change: Any) -> None:
    lr, losses = three()
    plain = analyse(lr, losses, family="sgd")
    changed = analyse(lr, [change(y) for y in losses], family="sgd")
    assert changed.suggestion == plain.suggestion
    assert changed.landmarks == plain.landmarks


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.1, 0.2])
def test_noise_moves_the_answer_little(sigma: float) -> None:
    clean = top(analyse(*three(sigma=0.0), family="sgd"))
    lr = ramp(300)
    for seed in range(10):
        losses = [network(lr, sigma=sigma, seed=3 * seed + k) for k in range(3)]
        assert decades(top(analyse(lr, losses, family="sgd")), clean) < 0.3


def test_the_well_known_fixture_has_no_edge_whatever_the_noise() -> None:
    x = np.linspace(-50, 50, 100)
    base = (-(x**2) - 30 * x + 4000) / 1000
    lr = np.geomspace(1e-8, 1, 100)
    lows = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        found = analyse(lr, [base + random.uniform(-0.1, 0.1, 100) for _ in range(3)], family="sgd")
        assert (found.status, found.suggestion) == ("no_edge_in_range", None)
        lows.append(found.landmarks["lr_min"])
    assert decades(min(lows), max(lows)) < 0.3


@pytest.mark.parametrize("where", [0, 3, 12, 40, 150])
@pytest.mark.parametrize("height", [5.0, 1e4, -3.0])
def test_one_spike_is_ignored(where: int, height: float) -> None:
    lr, losses = three()
    plain = top(analyse(lr, losses, family="sgd"))
    spiked = [y.copy() for y in losses]
    spiked[0][where] += height
    assert decades(top(analyse(lr, spiked, family="sgd")), plain) < 0.05


def test_a_spike_in_a_single_run_is_ignored() -> None:
    lr = ramp(300)
    losses = network(lr)
    plain = top(analyse(lr, [losses], family="sgd"))
    losses[12] += 100
    assert decades(top(analyse(lr, [losses], family="sgd")), plain) < 0.05


def test_the_number_of_iterations_hardly_matters() -> None:
    edges = [edge(analyse(*three(n), family="sgd")) for n in (100, 200, 300, 1000, 10_000)]
    assert decades(min(edges), max(edges)) < 0.15


def test_stopping_at_the_divergence_keeps_the_answer() -> None:
    lr, losses = three()
    stopped = [y[: divergence(y, planned=300)] for y in losses]
    assert all(len(y) < 300 for y in stopped)
    assert top(analyse(lr, stopped, family="sgd")) == top(analyse(lr, losses, family="sgd"))


def test_a_tail_of_nan_is_a_divergence() -> None:
    lr, losses = three()
    cut = int(np.searchsorted(lr, 0.4))
    for y in losses:
        y[cut:] = np.nan
    found = analyse(lr, losses, family="sgd")
    assert decades(edge(found), 0.4) < 0.15


def test_negative_losses() -> None:
    lr, losses = three()
    assert top(analyse(lr, [y - 50 for y in losses], family="sgd")) > 0


def test_one_repeat_of_three_that_dies_early_does_not_decide() -> None:
    lr, losses = three()
    plain = top(analyse(lr, losses, family="sgd"))
    losses[1][100:] = np.inf
    assert decades(top(analyse(lr, losses, family="sgd")), plain) < 0.1


def noisy(level: F64, seed: int = 0) -> list[F64]:
    random = np.random.default_rng(seed)
    return [level + 0.05 * random.normal(size=len(level)) for _ in range(3)]


LR = ramp(300)
FALL = 2.3 - 2 / (1 + 1e-3 / LR)


@pytest.mark.parametrize(
    ("losses", "status"),
    [
        (noisy(np.full(300, 2.3)), "no_descent"),
        ([np.full(300, 2.3)], "no_descent"),
        ([np.zeros(300)], "no_descent"),
        (noisy(2.3 + np.linspace(0, 0.5, 300)), "no_descent"),
        (noisy(FALL), "no_edge_in_range"),
        ([np.linspace(5, 1, 300)], "no_edge_in_range"),
        (noisy(2.3 + np.exp(np.arange(300) / 3).clip(0, 1e30)), "diverged_at_start"),
        ([np.full(300, np.nan)], "nonfinite"),
        ([np.full(300, np.inf)] * 3, "nonfinite"),
        ([np.concatenate([[2.3] * 18, np.full(12, np.nan)])], "diverged_at_start"),
        ([], "insufficient_points"),
        ([np.empty(0)], "insufficient_points"),
        ([np.full(5, 2.3)], "insufficient_points"),
    ],
)
def test_statuses(losses: list[F64], status: str) -> None:
    found = analyse(LR, losses, family="sgd")
    assert found.status == status
    assert found.suggestion is None
    assert found.interval is None


def test_noise_that_hides_the_curve() -> None:
    losses = [network(LR, sigma=3.0, seed=seed) for seed in range(3)]
    assert analyse(LR, losses, family="sgd").status in {"too_noisy", "no_descent"}


def test_short_ramps_are_insufficient() -> None:
    lr = ramp(10)
    assert analyse(lr, [network(lr)], family="sgd").status == "insufficient_points"


def test_a_quadratic_diverges_at_its_stability_limit() -> None:
    """Gradient descent on lambda/2 x^2 leaves at lr = 2/lambda."""
    n, curvature = 500, 20.0
    lr = np.geomspace(1e-4, 1, n)
    limit = 2 / curvature
    random = np.random.default_rng(0)
    losses = []
    for _ in range(3):
        x, run = 1.0, []
        for rate in lr:
            run.append(0.5 * curvature * x**2 + 1 + 0.01 * random.normal())
            x = float(np.clip((1 - rate * curvature) * x + 0.01 * random.normal(), -1e6, 1e6))
        losses.append(np.array(run))
    assert 1 <= edge(analyse(lr, losses, family="sgd")) / limit <= 1.4


def test_the_interval_holds_the_suggestion_and_narrows_with_agreement() -> None:
    found = analyse(*three(sigma=0.2), family="sgd")
    assert found.interval is not None
    low, high = found.interval["max_lr"]
    assert low <= top(found) * 1.1
    assert high >= top(found) / 1.1
    lr = ramp(300)
    apart = [network(lr, edge=each, seed=k) for k, each in enumerate((0.1, 0.5, 2.0))]
    wide = analyse(lr, apart, family="sgd").interval
    assert wide is not None
    assert decades(*wide["max_lr"]) > decades(low, high)
    assert analyse(lr, apart[:1], family="sgd").interval is None


def test_ragged_losses_lower_the_peak() -> None:
    lr = ramp(300)
    losses = []
    for seed in range(3):
        y = network(lr, seed=seed)
        wild = (lr > 0.05) & (lr < 0.5)
        y[wild] += 0.6 * np.random.default_rng(seed).normal(size=wild.sum())
        losses.append(y)
    found = analyse(lr, losses, family="sgd")
    ragged = found.landmarks["lr_ragged"]
    assert ragged is not None
    assert 0.03 < ragged < 0.3
    assert top(found) == ragged / 2


def test_the_result_is_json() -> None:
    for losses in (three()[1], [np.full(300, np.nan)], []):
        text = json.dumps(analyse(LR, losses, family="adam").result(), allow_nan=False)
        assert json.loads(text).keys() >= {"status", "suggestion", "landmarks", "compat"}


def test_the_same_losses_give_the_same_answer() -> None:
    assert analyse(*three(), family="sgd") == analyse(*three(), family="sgd")


def test_a_long_test_is_read_in_no_time() -> None:
    lr, losses = three(10_000)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        analyse(lr, losses, family="sgd")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


@settings(max_examples=300)
@given(
    st.integers(0, 400).map(lambda n: np.geomspace(1e-6, 1, max(n, 1))[:n]),
    st.lists(
        hnp.arrays(
            st.sampled_from([np.float32, np.float64]),
            st.integers(0, 450),
            elements=st.floats(width=32) | st.floats(-5, 5, width=32),
        ),
        max_size=4,
    ),
    st.sampled_from(["sgd", "adam"]),
)
def test_anything_gets_a_status(lr: F64, losses: list[F64], family: Family) -> None:
    found = analyse(lr, losses, family=family)
    json.dumps(found.result(), allow_nan=False)
    assert (found.suggestion is not None) == (found.status == "ok")


# divergence


def test_divergence_is_confirmed_after_three_percent() -> None:
    losses = np.concatenate([np.full(100, 2.0), np.full(100, 1.0), np.full(100, 50.0)])
    assert divergence(losses, planned=300) == 200 + 9
    assert divergence(losses[:208], planned=300) is None


def test_divergence_does_not_depend_on_how_many_losses_come_at_a_time() -> None:
    losses = network(ramp(300))
    whole = divergence(losses, planned=300)
    assert whole is not None
    first = next(n for n in range(301) if divergence(losses[:n], planned=300) is not None)
    assert first == whole


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 50))
def test_divergence_knows_no_scale(scale: float, shift: float, seed: int) -> None:
    losses = network(ramp(200), seed=seed)
    assert divergence(losses * scale + shift, planned=200) == divergence(losses, planned=200)


def test_a_slow_rise_before_the_descent_is_no_divergence() -> None:
    losses = np.concatenate([np.linspace(2.3, 2.6, 100), np.linspace(2.6, 0.3, 200)])
    noise_ = 0.05 * np.random.default_rng(0).normal(size=300)
    assert divergence(losses + noise_, planned=300) is None


def test_nan_is_a_divergence_from_the_first_loss_on() -> None:
    assert divergence(np.full(300, np.nan), planned=300) == 9
    assert divergence(np.array([]), planned=300) is None


# smoothing


def test_a_line_is_its_own_smoothing_up_to_both_ends() -> None:
    y = np.linspace(3, -2, 100)
    fit, own = local_linear(y, 4.0)
    np.testing.assert_allclose(fit, y, atol=1e-12)
    assert own[0] > own[50] > 0


def test_smoothing_has_no_lag() -> None:
    y = np.exp(-0.5 * ((np.arange(301) - 150) / 20) ** 2)
    fit, _ = smooth(y + 0.05 * np.random.default_rng(0).normal(size=301))
    assert abs(int(fit.argmax()) - 150) <= 4


def test_the_noise_of_a_curve_is_not_its_slope() -> None:
    sigma = 0.3 * np.random.default_rng(0).normal(size=5000)
    assert noise(sigma + np.linspace(0, 50, 5000)) == pytest.approx(0.3, rel=0.05)


# what other finders would say, by fastai's formulas written out


def written_out_valley(lr: F64, s: F64) -> float:
    lengths = [1] * len(s)
    start = end = 0
    for i in range(1, len(s)):
        for j in range(i):
            if s[i] < s[j] and lengths[i] < lengths[j] + 1:
                lengths[i] = lengths[j] + 1
            if lengths[end] < lengths[i]:
                end = i
                start = end - lengths[end]
    third = (end - start) / 3
    return float(lr[start + int(third) + int(third / 2)])


@pytest.mark.parametrize("seed", range(5))
def test_the_peers_rules(seed: int) -> None:
    lr = ramp(100)
    losses = network(lr, seed=seed)
    found = suggestions(lr, losses)
    s = moving_average(losses)[10:-5]
    kept = lr[10:-5]
    assert found["valley"] == written_out_valley(kept, s)
    assert found["minimum"] == kept[int(s.argmin())] / 10
    slopes = (s[1:] - s[:-1]) / (np.log(kept[1:]) - np.log(kept[:-1]))
    assert found["steep"] == kept[int(slopes.argmin())]
    gradient = np.gradient(s)
    right, left = -1, -16
    slide = kept[left]
    while left >= -len(s) and abs(gradient[right] - gradient[left]) > 0.005:
        slide = kept[left]
        right, left = right - 1, left - 1
    assert found["slide"] == slide


def test_the_moving_average_is_corrected_from_the_start() -> None:
    average = moving_average(np.array([3.0, 3.0, 1.0]))
    weights = 0.02 * 0.98 ** np.array([2, 1, 0])
    assert average[0] == pytest.approx(3.0)
    assert average[2] == pytest.approx((weights * [3, 3, 1]).sum() / weights.sum())
