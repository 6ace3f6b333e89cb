"""The longest update that does not raise the loss of its batch."""

import copy
import math

import pytest
import torch
from torch import nn

from spec.components import (
    OPTIMIZERS,
    AdamParams,
    ComponentParams,
    MlpParams,
    ResnetParams,
    SgdParams,
)
from worker.engine import models, optimizers
from worker.engine.line_search import boundary, longest_update

INPUTS = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(10, (64,), generator=torch.Generator().manual_seed(1))


def made(
    params: ComponentParams, optimizer: ComponentParams
) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = models.build(params, (1, 8, 8), 10)
    return model, optimizers.build(optimizer, model.parameters())


@pytest.mark.parametrize("guess", [1e-8, 0.3, 1.0, 1e9])
@pytest.mark.parametrize("truth", [1e-5, 0.7, 3.0, 1e6])
def test_the_boundary_is_found_from_any_guess(truth: float, guess: float) -> None:
    assert boundary(lambda x: x > truth, guess) == pytest.approx(truth, rel=0.1)


def test_what_always_or_never_rises_has_no_boundary() -> None:
    assert boundary(lambda _: True, 1.0) == 0
    assert boundary(lambda _: False, 1.0) == math.inf


@pytest.mark.parametrize("params", [MlpParams(dropout=0.3), ResnetParams(width=4)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_model_and_optimizer_are_left_as_they_are(params: ComponentParams, name: str) -> None:
    model, optimizer = made(params, OPTIMIZERS[name]())
    masks = torch.Generator().manual_seed(5)
    for layer in model.modules():
        if isinstance(layer, models.Dropout):
            layer.generator = masks
    nn.functional.cross_entropy(model(INPUTS), LABELS).backward()
    optimizer.step()
    optimizer.zero_grad()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    streams = torch.get_rng_state(), masks.get_state()
    longest_update(model, optimizer, INPUTS, LABELS, lr=0.01)
    torch.testing.assert_close(
        (model.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0, equal_nan=True
    )
    assert all(each.grad is None for each in model.parameters())
    assert model.training
    torch.testing.assert_close((torch.get_rng_state(), masks.get_state()), streams)


@pytest.mark.parametrize("lr", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("optimizer", [SgdParams(), SgdParams(momentum=0.9), AdamParams()])
def test_the_loss_is_no_higher_there_and_higher_beyond(
    optimizer: ComponentParams, lr: float
) -> None:
    model, made_optimizer = made(MlpParams(), optimizer)
    multiple = longest_update(model, made_optimizer, INPUTS, LABELS, lr=lr)
    start = nn.functional.cross_entropy(model(INPUTS), LABELS)
    start.backward()
    weights = [each.detach().clone() for each in model.parameters()]
    optimizers.set_lr(made_optimizer, lr)
    made_optimizer.step()
    updates = [each.detach() - old for each, old in zip(model.parameters(), weights, strict=True)]

    def loss(times: float) -> float:
        with torch.no_grad():
            for each, old, update in zip(model.parameters(), weights, updates, strict=True):
                each.copy_(old + times * update)
            return nn.functional.cross_entropy(model(INPUTS), LABELS).item()

    assert loss(multiple / 1.2) <= start.item()
    assert loss(multiple * 1.2) > start.item()


def test_on_a_quadratic_it_is_twice_the_inverse_of_the_curvature() -> None:
    """Along the gradient, the loss is back where it was at the rate 2/L of that direction."""
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(500, 1, 2, 2, generator=random)
    labels = torch.randint(3, (500,), generator=random)  # of nothing: weights stay near zero
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    nn.init.zeros_(next(model.parameters()))
    optimizer = optimizers.build(SgdParams(), model.parameters())
    parameters = list(model.parameters())
    loss = nn.functional.cross_entropy(model(inputs), labels)
    (gradient,) = torch.autograd.grad(loss, parameters, create_graph=True)
    fixed = gradient.detach()
    (product,) = torch.autograd.grad(gradient, parameters, fixed)
    along = float((fixed * product).sum() / (fixed * fixed).sum())
    longest = longest_update(model, optimizer, inputs, labels, lr=1e-3) * 1e-3
    assert longest == pytest.approx(2 / along, rel=0.1)


def test_the_rate_of_the_update_only_sets_the_scale() -> None:
    model, optimizer = made(MlpParams(), SgdParams())
    low, high = (
        lr * longest_update(model, optimizer, INPUTS, LABELS, lr=lr, guess=1 / lr)
        for lr in (1e-4, 10.0)
    )
    assert low == pytest.approx(high, rel=0.1)
