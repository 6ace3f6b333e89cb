"""Schedules against torch's own, and the places where torch's are wrong."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs
from torch.optim.lr_scheduler import LRScheduler

from tests.policies import POLICY

LR = 0.7
Make = Callable[[torch.optim.Optimizer], LRScheduler]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)


def torch_runs(make: Make, iterations: int, *, beyond: int = 0) -> tuple[list[float], list[float]]:
    """Rates and momenta of a run, and of so many iterations after its end."""
    rates, momenta = [], []
    driven = optimizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing is trained here
        scheduler = make(driven)
        for i in range(iterations + beyond):
            if i > 0:
                scheduler.step()
            rates.append(float(driven.param_groups[0]["lr"]))
            momenta.append(float(driven.param_groups[0]["momentum"]))
    return rates, momenta


def ours(iterations: int, policy: str, **fields: Any) -> np.ndarray:
    schedule = POLICY.validate_python({"policy": policy, **fields})
    return schedule.lr_at(np.arange(iterations), iterations=iterations)


def warm_cosine(optimizer: torch.optim.Optimizer) -> LRScheduler:
    parts = [
        theirs.LinearLR(optimizer, start_factor=1 / 40, total_iters=39),
        theirs.CosineAnnealingLR(optimizer, T_max=499 - 40, eta_min=0.01),
    ]
    return theirs.SequentialLR(optimizer, parts, milestones=[40])


def three_pieces(optimizer: torch.optim.Optimizer) -> LRScheduler:
    parts = [
        theirs.LinearLR(optimizer, start_factor=1.0, end_factor=0.5, total_iters=99),
        theirs.StepLR(optimizer, step_size=30, gamma=0.3),
        theirs.ExponentialLR(optimizer, gamma=0.99),
    ]
    return theirs.SequentialLR(optimizer, parts, milestones=[100, 250])


THREE_PIECES = [
    {"schedule": {"policy": "linear", "lr": LR, "end_lr": LR / 2}, "length": 100},
    {"schedule": {"policy": "step", "lr": LR, "step_size": 30, "gamma": 0.3}, "length": 150},
    {"schedule": {"policy": "exponential", "lr": LR, "gamma": 0.99}},
]

# torch goes from one rate to the next and gathers rounding errors of a few 1e-16 of the first rate
SAME: dict[str, tuple[Make, dict[str, Any]]] = {
    "StepLR": (
        lambda each: theirs.StepLR(each, step_size=37, gamma=0.9),
        {"policy": "step", "lr": LR, "step_size": 37, "gamma": 0.9},
    ),
    "MultiStepLR": (
        lambda each: theirs.MultiStepLR(each, milestones=[1, 100, 100, 300], gamma=0.3),
        {"policy": "multi_step", "lr": LR, "milestones": [1, 100, 100, 300], "gamma": 0.3},
    ),
    "ExponentialLR": (
        lambda each: theirs.ExponentialLR(each, gamma=0.99),
        {"policy": "exponential", "lr": LR, "gamma": 0.99},
    ),
    "PolynomialLR": (
        lambda each: theirs.PolynomialLR(each, total_iters=499, power=2.5),
        {"policy": "polynomial", "lr": LR, "power": 2.5},
    ),
    "LinearLR": (
        lambda each: theirs.LinearLR(each, start_factor=1.0, end_factor=0.2, total_iters=499),
        {"policy": "linear", "lr": LR, "end_lr": 0.2 * LR},
    ),
    "CosineAnnealingLR": (
        lambda each: theirs.CosineAnnealingLR(each, T_max=499, eta_min=0.02),
        {"policy": "cosine", "lr": LR, "min_lr": 0.02},
    ),
    "CosineAnnealingWarmRestarts": (
        lambda each: theirs.CosineAnnealingWarmRestarts(each, T_0=11, T_mult=3, eta_min=0.02),
        {"policy": "sgdr", "lr": LR, "t_0": 11, "t_mult": 3, "min_lr": 0.02},
    ),
    "CosineAnnealingWarmRestarts, equal cycles": (
        lambda each: theirs.CosineAnnealingWarmRestarts(each, T_0=100),
        {"policy": "snapshot", "lr": LR, "cycles": 5},
    ),
    "SequentialLR, warm-up": (
        warm_cosine,
        {"policy": "cosine", "lr": LR, "min_lr": 0.01, "warmup": 40},
    ),
    "SequentialLR": (three_pieces, {"policy": "piecewise", "pieces": THREE_PIECES}),
}


@pytest.mark.parametrize("name", SAME)
def test_torch_has_the_same_rates(name: str) -> None:
    make, schedule = SAME[name]
    rates, _ = torch_runs(make, 500)
    np.testing.assert_allclose(ours(500, **schedule), rates, rtol=0, atol=1e-12 * LR)


@pytest.mark.parametrize("name", ["PolynomialLR", "CosineAnnealingLR"])
def test_torch_has_the_same_closed_forms(name: str) -> None:
    make, schedule = SAME[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        scheduler = make(optimizer())
        rates = []
        for scheduler.last_epoch in range(500):
            rates += scheduler._get_closed_form_lr()
    np.testing.assert_allclose(ours(500, **schedule), rates, rtol=1e-12)


@pytest.mark.parametrize("iterations", [1, 2, 7, 50, 333, 1000])
@pytest.mark.parametrize("pct_start", [0.0, 0.23, 0.3, 1 / 3, 0.5])
@pytest.mark.parametrize("anneal_strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_torch_has_the_same_one_cycle(
    iterations: int, pct_start: float, anneal_strategy: str, three_phase: bool
) -> None:
    fields: dict[str, Any] = {
        "max_lr": LR,
        "pct_start": pct_start,
        "anneal_strategy": anneal_strategy,
        "three_phase": three_phase,
    }
    if pct_start * iterations == 1:
        with pytest.raises(ZeroDivisionError):
            theirs.OneCycleLR(optimizer(), total_steps=iterations, **fields)
        assert ours(iterations, "one_cycle", **fields)[0] == LR
        return
    rates, momenta = torch_runs(
        lambda each: theirs.OneCycleLR(each, total_steps=iterations, **fields), iterations
    )
    np.testing.assert_allclose(ours(iterations, "one_cycle", **fields), rates, rtol=1e-12)
    schedule = POLICY.validate_python({"policy": "one_cycle", **fields})
    found = schedule.momentum_at(np.arange(iterations), iterations=iterations)
    np.testing.assert_allclose(found, momenta, rtol=1e-12)


@pytest.mark.parametrize("policy", ["triangular", "triangular2", "exp_range"])
def test_torch_has_the_same_cycles(policy: str) -> None:
    gamma = 0.99994
    rates, _ = torch_runs(
        lambda each: theirs.CyclicLR(
            each,
            base_lr=0.001,
            max_lr=0.006,
            step_size_up=2000,
            mode=policy,
            gamma=gamma,
            cycle_momentum=False,
        ),
        13_000,
    )
    fields = {"gamma": gamma} if policy == "exp_range" else {}
    found = ours(13_000, policy, base_lr=0.001, max_lr=0.006, step_size=2000, **fields)
    np.testing.assert_allclose(found, rates, rtol=1e-12)


@pytest.mark.parametrize(("t_mult", "restart"), [(3, 121), (10, 111)])
def test_torch_misses_restarts_that_it_finds_with_a_logarithm(t_mult: int, restart: int) -> None:
    """Asked for an epoch, as its documentation shows for rates within an epoch."""
    scheduler = theirs.CosineAnnealingWarmRestarts(optimizer(), T_0=1, T_mult=t_mult)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        scheduler.step(restart)
    assert scheduler.get_last_lr()[0] < 0.001 * LR  # the end of the cycle before
    found = ours(restart + 1, "sgdr", lr=LR, t_0=1, t_mult=t_mult)
    assert found[restart] == LR
    assert found[restart - 1] < 0.001 * LR


def test_torch_cosine_rises_again_after_its_end() -> None:
    rates, _ = torch_runs(lambda each: theirs.CosineAnnealingLR(each, T_max=50), 101)
    assert rates[50] == pytest.approx(0, abs=1e-15)
    assert rates[100] == pytest.approx(LR)
    schedule = POLICY.validate_python({"policy": "cosine", "lr": LR})
    assert schedule.lr_at([50, 75, 100], iterations=51).tolist() == [0, 0, 0]


@pytest.mark.parametrize("anneal_strategy", ["cos", "linear"])
def test_torch_one_cycle_takes_one_step_too_many(anneal_strategy: Any) -> None:
    fields = {"max_lr": 0.01, "anneal_strategy": anneal_strategy}
    rates, _ = torch_runs(
        lambda each: theirs.OneCycleLR(each, total_steps=50, **fields), 50, beyond=1
    )
    last, past = rates[-2:]
    if anneal_strategy == "cos":
        assert past > 2 * last
    else:
        assert past == pytest.approx(-2.86e-4, rel=2e-3)
    schedule = POLICY.validate_python({"policy": "one_cycle", **fields})
    assert schedule.lr_at([49, 50], iterations=50) == pytest.approx(np.array([last, last]))
