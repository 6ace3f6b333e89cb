"""Limits of stability follow from the curvature, the optimizer and the factors of rates."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from schedules.values import F64
from spec.components import AdamwParams, ComponentParams, RmspropParams, SgdParams
from worker.engine import optimizers
from worker.engine.batches import Batches
from worker.engine.device import EXACT, Numerics
from worker.engine.recipe import Learner
from worker.engine.splits import Split
from worker.engine.stability import stability_limit
from worker.engine.step import Step

INPUTS = torch.tensor([[2.0, 1.0], [0.5, -1.0], [1.0, 3.0], [-2.0, 0.3]])
BATCH = Split(INPUTS, torch.tensor([0, 1, 1, 0]))


def learner(optimizer: ComponentParams, *, factor: float = 1.0) -> Learner:
    """Logistic regression, of which the curvature at zero is known."""
    model = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(model.weight)
    made = optimizers.build(optimizer, [{"params": [model.weight], "factor": factor}])
    numerics = Numerics(torch.device("cpu"), "fp32", EXACT, threads=1)
    step = Step(model, made, numerics)
    unused = torch.Generator()
    return Learner(model, made, Batches(BATCH, 4, unused), step, order=0, masks=unused)


def hessian() -> F64:
    """Of the mean loss at zero weights, a row of weights for each class: `p(1-p) = 1/4`."""
    x = INPUTS.numpy().astype(np.float64)
    return np.kron([[0.25, -0.25], [-0.25, 0.25]], x.T @ x / len(x))


def curvature(scales: F64 | float = 1.0) -> float:
    s = np.broadcast_to(scales, 4)
    return float(np.linalg.eigvalsh(hessian() * np.outer(s, s)).max())


def gradient() -> F64:
    """Of the same: `(p - y) x`."""
    off = 0.5 - np.eye(2)[BATCH.labels.numpy()]
    return (off.T @ INPUTS.numpy() / len(INPUTS)).ravel()


@pytest.mark.parametrize(
    ("optimizer", "numerator"),
    [
        (SgdParams(), 2),
        (SgdParams(momentum=0.9), 3.8),
        (SgdParams(momentum=0.9, nesterov=True), 3.8 / 2.8),
    ],
)
def test_plain_heavy_ball_and_nesterov(optimizer: ComponentParams, numerator: float) -> None:
    found = stability_limit(learner(optimizer), optimizer, BATCH, seed=0)
    assert found == pytest.approx(numerator / curvature(), rel=0.01)


def test_a_factor_of_the_rate_counts() -> None:
    optimizer = SgdParams()
    found = stability_limit(learner(optimizer, factor=0.1), optimizer, BATCH, seed=0)
    assert found == pytest.approx(20 / curvature(), rel=0.01)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_divides_by_what_it_would_after_the_batch(amsgrad: bool) -> None:
    optimizer = AdamwParams(eps=1e-3, amsgrad=amsgrad)
    one = learner(optimizer)
    assert stability_limit(one, optimizer, BATCH, seed=0) is None  # it has no averages yet
    assert isinstance(one.model, nn.Linear)
    square = largest = np.zeros(4)
    for before in (0.5, 0.01):
        one.model.weight.grad = torch.full_like(one.model.weight, before)
        one.optimizer.step()  # the rate is 0
        square = 0.999 * square + 0.001 * before**2
        largest = np.maximum(largest, square)
    one.optimizer.zero_grad()
    square = 0.999 * square + 0.001 * gradient() ** 2
    square = np.maximum(square, largest) if amsgrad else square
    divisor = np.sqrt(square / (1 - 0.999**3)) + 1e-3
    found = stability_limit(one, optimizer, BATCH, seed=0)
    assert found == pytest.approx(38 / curvature(divisor**-0.5), rel=0.02)
    assert one.model.weight.grad is None


def test_some_optimizers_have_no_known_limit() -> None:
    assert stability_limit(learner(RmspropParams()), RmspropParams(), BATCH, seed=0) is None


def test_a_loss_that_is_not_finite_has_no_limit_that_could_be_told() -> None:
    broken = Split(INPUTS * math.inf, BATCH.labels)
    found = stability_limit(learner(SgdParams()), SgdParams(), broken, seed=0)
    assert found is not None
    assert math.isnan(found)
