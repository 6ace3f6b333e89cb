"""The accuracy of a range test is read as Smith reads it."""

import numpy as np
import pytest

from schedules.analysis import Accuracy, analyse
from schedules.values import F64
from tests.curves import decades, ramp


def accuracies(lr: F64, *, noise: float = 0.03, repeats: int = 3, falls: float = 0.5) -> list[F64]:
    """Rise from .1 to .9 around .001, and fall again around `falls`."""
    level = 0.1 + 0.8 / (1 + (0.001 / lr) ** 1.5) / (1 + (lr / falls) ** 4)
    return [
        level + noise * np.random.default_rng(seed).standard_normal(lr.size)
        for seed in range(repeats)
    ]


def reading(lr: F64, measured: list[F64]) -> Accuracy:
    found = analyse(lr, [1 - each for each in measured], family="sgd", accuracies=measured)
    assert found.accuracy is not None
    return found.accuracy


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
def test_it_rises_slows_and_falls_where_the_curve_does(noise: float) -> None:
    lr = ramp()
    found = reading(lr, accuracies(lr, noise=noise))
    assert decades(found.lr_rises, 0.001 * (0.05 / 0.95) ** (2 / 3)) < 0.4
    assert decades(found.lr_slows, 0.001 * 9 ** (2 / 3)) < 0.2
    assert decades(found.lr_falls, 0.5 * (0.1 / 0.9) ** 0.25) < 0.15
    assert found.lr_ragged is None
    assert (found.base_lr, found.max_lr) == (found.lr_rises, found.lr_slows)


def test_where_it_turns_ragged_first_is_the_upper_bound() -> None:
    lr = ramp()
    measured = accuracies(lr)
    wild = (lr > 0.002) & (lr < 0.5)
    for seed, each in enumerate(measured):
        each[wild] += 0.3 * np.random.default_rng(100 + seed).standard_normal(wild.sum())
    found = reading(lr, measured)
    assert found.lr_ragged is not None
    assert 0.001 < found.lr_ragged < 0.004
    assert found.max_lr == min(found.lr_ragged, found.lr_slows or np.inf)


def test_on_a_linear_ramp_as_in_the_paper() -> None:
    """Figure 3 there: from .001 on it rises at once, and around .006 it stops to."""
    lr = np.linspace(0.0001, 0.02, 400)
    level = 0.1 + 0.45 * np.minimum(lr / 0.006, 1) - 0.2 * np.maximum(lr - 0.008, 0) / 0.012
    random = np.random.default_rng(0)
    found = reading(lr, [level + 0.02 * random.standard_normal(400) for _ in range(3)])
    assert found.base_lr is not None
    assert found.base_lr < 0.001
    assert found.max_lr == pytest.approx(0.0056, rel=0.15)
    assert found.lr_falls == pytest.approx(0.0107, rel=0.1)


def test_a_repeat_that_is_gone_has_fallen() -> None:
    lr = ramp()
    end = int(np.searchsorted(lr, 0.05))
    measured = [each[:end] for each in accuracies(lr)]
    losses = [1 - each for each in measured]
    found = analyse(lr, losses, family="sgd", accuracies=measured, diverged=[True] * 3)
    assert found.accuracy is not None
    assert found.accuracy.lr_falls == pytest.approx(0.05, rel=0.15)
    assert reading(lr, measured).lr_falls is None


def test_what_never_rises_has_no_such_places() -> None:
    lr = ramp()
    random = np.random.default_rng(0)
    flat = [0.1 + 0.03 * random.standard_normal(lr.size) for _ in range(3)]
    assert reading(lr, flat) == Accuracy()
    assert reading(lr, [np.array([])]) == Accuracy()
    assert analyse(lr, flat, family="sgd").accuracy is None
