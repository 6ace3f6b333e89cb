"""The rate follows the hypergradient, as written out here a second time in NumPy."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spec.components import AdamParams, AdamwParams, ComponentParams, SgdParams
from worker.engine import optimizers
from worker.engine.hypergradient import LearnedRate

F64 = NDArray[np.float64]
ITERATIONS = 60
SIZES = (3, 2)
"""The five weights are two parameters, so that a dot product for each would show."""

KINDS = {
    "sgd": SgdParams(),
    "sgd with decay": SgdParams(weight_decay=0.3),
    "momentum": SgdParams(momentum=0.9, weight_decay=0.1),
    "nesterov": SgdParams(momentum=0.8, nesterov=True),
    "adam": AdamParams(),
    "adam with decay": AdamParams(weight_decay=0.1, betas=(0.8, 0.95)),
    "amsgrad": AdamParams(amsgrad=True, eps=1e-3),
    "adamw": AdamwParams(weight_decay=0.2),
}


def gradient(w: F64, t: int) -> F64:
    """Of a quadratic whose minimum wanders."""
    matrix = np.diag([3.0, 2.0, 1.0, 0.5, 0.1]) + 0.05
    return matrix @ (w - np.sin(0.1 * t * np.arange(1, 6)))


def in_numpy(
    params: ComponentParams, lr: float, beta: float, factors: F64
) -> tuple[list[float], F64]:
    """The rates and the last weights, from the paper's algorithms 4, 5 and 6."""
    p: Any = params
    w, direction, rates = np.ones(5), np.zeros(5), []
    v, v_pure, m, m_pure, s, most = (np.zeros(5) for _ in range(6))
    for t in range(1, ITERATIONS + 1):
        g = gradient(w, t)
        lr = max(0.0, lr + beta * (factors * g) @ direction)
        rates.append(lr)
        if isinstance(params, SgdParams):
            decayed = g + p.weight_decay * w
            v, v_pure = p.momentum * v + decayed, p.momentum * v_pure + g
            ahead = p.momentum if p.nesterov else 0
            step = decayed + ahead * v if p.nesterov else v
            direction = g + ahead * v_pure if p.nesterov else v_pure
        else:
            b1, b2 = p.betas
            coupled = not isinstance(params, AdamwParams)
            decayed = g + p.weight_decay * w * coupled
            m, m_pure = b1 * m + (1 - b1) * decayed, b1 * m_pure + (1 - b1) * g
            s = b2 * s + (1 - b2) * decayed**2
            most = np.maximum(most, s)
            scale = np.sqrt((most if p.amsgrad else s) / (1 - b2**t)) + p.eps
            step, direction = (each / (1 - b1**t) / scale for each in (m, m_pure))
            step = step + p.weight_decay * w * (not coupled)
        w = w - factors * lr * step
    return rates, w


def in_torch(
    params: ComponentParams, lr: float, beta: float, factors: tuple[float, float]
) -> tuple[list[float], F64]:
    """The same with the engine's."""
    weights = [nn.Parameter(torch.ones(size, dtype=torch.float64)) for size in SIZES]
    groups = [
        {"params": [weight], "factor": factor}
        for weight, factor in zip(weights, factors, strict=True)
    ]
    optimizer = optimizers.build(params, groups if factors[0] != factors[1] else weights)
    learned = LearnedRate(optimizer, params, lr=lr, hyper_lr=beta)
    rates = []
    for t in range(1, ITERATIONS + 1):
        w = np.concatenate([weight.detach().numpy() for weight in weights])
        parts = torch.from_numpy(gradient(w, t)).split(SIZES)
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.clone()
        rates.append(learned.adapt(1.0).item())
        optimizer.step()
    return rates, np.concatenate([weight.detach().numpy() for weight in weights])


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.25, 1.0), (0.0, 2.0)])
@pytest.mark.parametrize("params", KINDS.values(), ids=KINDS.keys())
def test_rates_and_weights_are_those_of_the_paper(
    params: ComponentParams, factors: tuple[float, float]
) -> None:
    beta = 1e-3
    rates, weights = in_torch(params, 0.01, beta, factors)
    expected = in_numpy(params, 0.01, beta, np.repeat(factors, SIZES))
    assert rates == pytest.approx(expected[0], rel=2e-6)
    assert weights == pytest.approx(expected[1], rel=1e-5)
    assert max(rates) > 1.2 * min(rates)


def test_the_first_steps_by_hand() -> None:
    """f(w) = w^2 / 2 from w = 1: the gradient is w."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = optimizers.build(SgdParams(), [weight])
    learned = LearnedRate(optimizer, SgdParams(), lr=0.1, hyper_lr=0.5)
    for rate, after in [
        (0.1, 0.9),  # no gradient before: the rate as it is
        (0.1 + 0.5 * 0.9 * 1.0, 0.9 * 0.45),
        (0.55 + 0.5 * 0.405 * 0.9, 0.405 * (1 - 0.73225)),
    ]:
        weight.grad = weight.detach().clone()
        assert learned.adapt(1.0).item() == pytest.approx(rate, rel=1e-6)
        optimizer.step()
        assert weight.item() == pytest.approx(after, rel=1e-6)


def one(gradients: list[float], warmup: list[float]) -> list[float]:
    """The rates that lone gradients lead to, from 0.5 with steps of 1."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = optimizers.build(SgdParams(), [weight])
    learned = LearnedRate(optimizer, SgdParams(), lr=0.5, hyper_lr=1.0)
    rates = []
    for each, part in zip(gradients, warmup, strict=True):
        weight.grad = torch.tensor([each])
        rates.append(learned.adapt(part).item())
    return rates


def test_the_rate_never_falls_below_zero_and_comes_back() -> None:
    assert one([1.0, -1.0, -1.0], [1.0] * 3) == [0.5, 0.0, 1.0]


def test_a_warm_up_takes_its_part() -> None:
    assert one([1.0, 2.0, 1.0], [0.25, 0.5, 1.0]) == [0.125, 1.25, 4.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_what_is_not_finite_shows_and_stays(bad: float) -> None:
    rates = one([1.0, bad, bad * 1e30, 1.0, 1.0], [1.0] * 5)
    assert rates[0] == 0.5
    assert all(math.isnan(each) for each in rates[3:])
