"""Momentum reaches each optimizer, and a momentum of 0 is a momentum like any other."""

import pytest
import torch
from torch import nn

from spec.components import (
    AdamParams,
    AdamwParams,
    ComponentParams,
    MlpParams,
    RmspropParams,
    SgdParams,
)
from worker.engine import models, optimizers


def test_velocity_passes_through_a_momentum_of_zero() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = optimizers.build(SgdParams(), [weight])
    group = optimizer.param_groups[0]
    group["lr"] = 1.0
    velocity, expected = 0.0, 0.0
    for gradient, momentum in [(1.0, 0.5), (2.0, 0.0), (4.0, 0.5), (0.0, 0.5)]:
        weight.grad = torch.tensor([gradient])
        optimizers.set_momentum(group, momentum)
        optimizer.step()
        velocity = momentum * velocity + gradient
        expected -= velocity
        assert weight.item() == expected


@pytest.mark.parametrize("params", [SgdParams(), RmspropParams()])
def test_momentum_may_begin_at_zero_in_an_optimizer_without_any(params: ComponentParams) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = optimizers.build(params, [weight])
    for momentum in (0.0, 0.9):
        weight.grad = torch.ones(1)
        optimizers.set_momentum(optimizer.param_groups[0], momentum)
        optimizer.step()
    assert optimizer.state[weight]["momentum_buffer"] is not None


def test_in_the_adam_family_momentum_is_beta1() -> None:
    optimizer = optimizers.build(AdamParams(betas=(0.9, 0.95)), [nn.Parameter(torch.zeros(1))])
    optimizers.set_momentum(optimizer.param_groups[0], 0.5)
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.95)


@pytest.mark.parametrize(
    "params",
    [
        SgdParams(),
        SgdParams(momentum=0.9),
        AdamParams(),
        AdamParams(amsgrad=True),
        AdamwParams(),
        RmspropParams(),
        RmspropParams(centered=True, momentum=0.5),
    ],
)
def test_state_is_counted_as_it_is_kept(params: ComponentParams) -> None:
    model = models.build(MlpParams(hidden=(5,)), (1, 8, 8), 10)
    optimizer = optimizers.build(params, model.parameters())
    model(torch.zeros(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    kept = sum(
        value.numel()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.dim()
    )
    numbers = sum(weight.numel() for weight in model.parameters())
    assert kept == numbers * optimizers.state_copies(params)


def test_families() -> None:
    assert optimizers.family(SgdParams()) == "sgd"
    for params in (AdamParams(), AdamwParams(), RmspropParams()):
        assert optimizers.family(params) == "adam"
