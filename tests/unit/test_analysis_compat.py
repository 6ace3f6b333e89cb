"""Other finders' rules, as the finders themselves write them."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schedules.analysis.compat import Compat, compat
from schedules.analysis.fastai import longest_decrease, moving_average
from schedules.values import F64

F32 = NDArray[np.float32]

LR = np.geomspace(1e-7, 10, 100)
FALL = np.linspace(5, 1, 100)


def valley(lr: F64, losses: list[float]) -> float:
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


def slide(lr: F64, losses: F32) -> float:
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


def fastai(lr: F64, losses: F32) -> dict[str, float]:
    """fastai's smoothing, stop, cut and rules."""
    average, best, recorded = np.float32(0), math.inf, []
    for count, loss in enumerate(losses, 1):
        step = float(average - loss) * float(np.float32(0.98) - np.float32(1))
        average = np.float32(float(average) + step)
        smooth = average / np.float32(1 - 0.98**count)
        recorded.append(smooth)
        best = min(best, smooth)
        if smooth > 4 * best:
            break
    s, rates = np.array(recorded)[len(lr) // 10 : -5], lr[: len(recorded)][len(lr) // 10 : -5]
    log = np.log(rates.astype(np.float32).astype(np.float64)).astype(np.float32)
    return {
        "valley": valley(rates, s.tolist()),
        "slide": slide(rates, s),
        "minimum": float(rates[s.argmin()]) / 10,
        "steep": float(rates[((s[1:] - s[:-1]) / (log[1:] - log[:-1])).argmin()]),
    }


def torch_lr_finder(lr: F64, losses: list[float]) -> float:
    """torch-lr-finder's loop and suggestion."""
    history: list[float] = []
    for iteration, loss in enumerate(losses):
        if iteration == 0:
            best_loss = loss
        else:
            loss = 0.05 * loss + (1 - 0.05) * history[-1]  # noqa: PLW2901 - as there
            best_loss = min(best_loss, loss)
        history.append(loss)
        if loss > 5 * best_loss:
            break
    kept = history[10:-5]
    return float(lr[10 : 10 + len(kept)][np.gradient(np.array(kept)).argmin()])


def lightning(lr: F64, losses: list[float]) -> float:
    """Lightning's callback and suggestion."""
    avg_loss, best_loss, history = 0.0, 0.0, []
    for step, loss in enumerate(losses, 1):
        avg_loss = 0.98 * avg_loss + (1 - 0.98) * loss
        smoothed = avg_loss / (1 - 0.98 ** (step + 1))
        stop = step > 1 and smoothed > 4 * best_loss
        if smoothed < best_loss or step == 1:
            best_loss = smoothed
        history.append(smoothed)
        if stop:
            break
    s, rates = (np.array(each[10 : len(history) - 1], np.float32) for each in (history, lr))
    return float(lr[10 + np.gradient(s, rates).argmin()])


def ignite(lr: F64, losses: list[float]) -> float:
    """ignite's loop and suggestion."""
    history: list[float] = []
    best_loss = math.inf
    for loss in losses:
        s = 0.05 * loss + (1 - 0.05) * history[-1] if history else loss
        best_loss = min(best_loss, s)
        history.append(s)
        if s > 5 * best_loss:
            break
    falling = np.array(history, np.float32)
    falling = falling[: falling.argmin() + 1]
    grads = [0.5 * (falling[i + 1] - falling[i - 1]) for i in range(1, len(falling) - 1)]
    return float(lr[int(np.argmin(grads)) + 1])


@given(st.integers(0, 1000), st.floats(0, 0.5), st.floats(0.01, 100))
def test_the_peers_rules_are_theirs(seed: int, sd: float, edge: float) -> None:
    loss = 0.5 + 2 / (1 + (LR / 0.001) ** 1.5) + (LR / edge) ** 3
    loss += sd * np.random.default_rng(seed).uniform(0, 1, 100)
    single = loss.astype(np.float32)
    assert asdict(compat(LR, loss)) == fastai(LR, single) | {
        "torch_lr_finder": torch_lr_finder(LR, single.tolist()),
        "lightning": lightning(LR, single.tolist()),
        "ignite": ignite(LR, single.tolist()),
    }


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40))
def test_the_longest_decrease_of_any_series(series: list[int]) -> None:
    lengths: list[int] = []
    for i, value in enumerate(series):
        before = [lengths[j] for j in range(i) if series[j] > value]
        lengths.append(1 + max(before, default=0))
    longest = max(lengths)
    found = longest_decrease(np.array(series, dtype=np.float32))
    assert found == (lengths.index(longest), longest)


def test_the_average_is_right_from_the_first_loss_on() -> None:
    weights = 0.98 ** np.array([2, 1, 0])
    found = moving_average(np.array([3, 3, 1], np.float32))
    assert found[0] == pytest.approx(3)
    assert found[2] == pytest.approx(weights @ [3, 3, 1] / weights.sum())


def test_rules_without_an_answer_say_so() -> None:
    assert compat(LR, []) == compat(LR, [1.0] * 10) == Compat()
    assert compat(LR, FALL[:30]).slide is None
    assert compat(LR, FALL[:30]).minimum == pytest.approx(LR[24] / 10)
    assert compat(LR, np.linspace(1, 2, 100)).ignite is None


def test_what_is_not_finite_misleads_each_finder_in_its_own_way() -> None:
    broken = np.concatenate([FALL[:60], [np.nan], np.full(39, -50.0)])
    found = compat(LR, np.where(np.isnan(broken), np.nan, np.abs(broken)))
    assert found.minimum == LR[59] / 10  # it never saw the rest
    assert found.torch_lr_finder == found.ignite == LR[59]  # NaN counts as steepest
    assert found.lightning is not None
    assert found.lightning < LR[59]


def test_negative_losses_stop_all_but_fastai() -> None:
    found = compat(LR, FALL - 100)
    assert found.minimum == LR[94] / 10
    assert found.torch_lr_finder is found.lightning is found.ignite is None
