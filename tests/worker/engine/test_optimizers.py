"""Rates and momentum reach each optimizer, and those of libraries are as they are there."""

from pathlib import Path

import numpy as np
import pytest
import schedulefree
import torch
from prodigyopt import Prodigy
from torch import nn

from spec.components import (
    AdamParams,
    AdamwParams,
    AdamwScheduleFreeParams,
    ComponentParams,
    DigitsParams,
    MlpParams,
    ProdigyParams,
    RmspropParams,
    SgdParams,
    SgdScheduleFreeParams,
)
from spec.jobs import JOB_SPEC
from tests.worker.engine.conftest import CPU, TRAINING, Record
from tests.worker.engine.plain import plain_loop
from worker.engine import EngineError, Pace, models, optimizers
from worker.engine.averaging import averaged
from worker.engine.data import load
from worker.engine.loop import Rates, updates
from worker.engine.prepare import prepared
from worker.engine.recipe import start


def test_velocity_passes_through_a_momentum_of_zero() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = optimizers.build(SgdParams(), [weight])
    group = optimizer.param_groups[0]
    group["lr"] = 1.0
    velocity, expected = 0.0, 0.0
    for gradient, momentum in [(1.0, 0.5), (2.0, 0.0), (4.0, 0.5), (0.0, 0.5)]:
        weight.grad = torch.tensor([gradient])
        optimizers.set_momentum(optimizer, momentum)
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
        optimizers.set_momentum(optimizer, momentum)
        optimizer.step()
    assert optimizer.state[weight]["momentum_buffer"] is not None


def test_in_the_adam_family_momentum_is_beta1() -> None:
    optimizer = optimizers.build(AdamParams(betas=(0.9, 0.95)), [nn.Parameter(torch.zeros(1))])
    optimizers.set_momentum(optimizer, 0.5)
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
        SgdScheduleFreeParams(),
        AdamwScheduleFreeParams(),
        ProdigyParams(),
        ProdigyParams(betas=(0.0, 0.9)),
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
    for params in (SgdParams(), SgdScheduleFreeParams()):
        assert optimizers.family(params) == "sgd"
    adam = (AdamParams(), AdamwParams(), RmspropParams(), AdamwScheduleFreeParams())
    for params in (*adam, ProdigyParams()):
        assert optimizers.family(params) == "adam"


LIBRARIES = {
    "sgd_schedulefree": (
        {"momentum": 0.95, "weight_decay": 1e-3},
        schedulefree.SGDScheduleFree,
        {"momentum": 0.95, "weight_decay": 1e-3, "lr": 0.0},
    ),
    "adamw_schedulefree": (
        {"betas": [0.95, 0.99], "r": 0.5},
        schedulefree.AdamWScheduleFree,
        {"betas": (0.95, 0.99), "r": 0.5, "lr": 0.0},
    ),
    "prodigy": (
        {"weight_decay": 0.01, "growth_rate": 1.5, "safeguard_warmup": True},
        Prodigy,
        {"weight_decay": 0.01, "growth_rate": 1.5, "safeguard_warmup": True, "lr": 1.0},
    ),
}
RATES = {"sgd_schedulefree": 0.5, "adamw_schedulefree": 0.02, "prodigy": 1.0}


@pytest.mark.parametrize("name", LIBRARIES)
def test_losses_and_evaluations_are_those_of_the_libraries(
    train: Record, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kind, arguments = LIBRARIES[name]
    ours = train(
        optimizer={"name": name, "params": params},
        schedule={"policy": "constant", "lr": RATES[name], "warmup": 5},
        evaluate={"every": {"iterations": 7}},
        seed=7,
    )
    assert capsys.readouterr().out == ""
    lr = ours.plan.schedule.lr_at(np.arange(50), iterations=50).tolist()
    made = []

    def make(model: nn.Sequential) -> torch.optim.Optimizer:
        made.append(kind(model.parameters(), **arguments))
        if name != "prodigy":
            made[0].train()
        return made[0]

    losses, model = plain_loop(make, lr=lr)
    assert ours.column("loss").tobytes() == losses.tobytes()
    if name != "prodigy":
        made[0].eval()
    split = load(DigitsParams(), device=CPU, data_dir=Path()).validation
    loss = nn.functional.cross_entropy(model.eval()(split.inputs), split.labels).item()
    assert ours.result["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert losses[-10:].mean() < losses[0]


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "params": {"hidden": [8], "dropout": 0.5}},
        {"name": "resnet", "params": {"width": 2}},
    ],
    ids=["dropout", "batch norm"],
)
def test_being_judged_does_not_disturb(train: Record, name: str, model: dict[str, object]) -> None:
    job = {
        "model": model,
        "optimizer": {"name": name},
        "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 5},
        "length": {"iterations": 20},
    }
    plain = train(**job)
    watched = train(**job, evaluate={"every": {"iterations": 3}}, snapshots={"curvature": True})
    assert plain.column("loss").tobytes() == watched.column("loss").tobytes()
    assert plain.result["val_loss"] == watched.result["val_loss"]


@pytest.mark.parametrize("name", ["sgd_schedulefree", "adamw_schedulefree"])
def test_the_weights_of_iterates_do_not_overflow(train: Record, name: str) -> None:
    job = {
        "lr_groups": {"multipliers": {"*": 1e6}},
        "schedule": {"policy": "constant", "lr": 1e6},
    }
    highest = {"r": 10, "weight_lr_power": 10}
    ours = train(**job, optimizer={"name": name, "params": highest})
    assert ours.result["diverged_at"] is not None
    with pytest.raises(EngineError, match="/optimizer/params/weight_lr_power: "):
        train(**job, optimizer={"name": name, "params": {"weight_lr_power": 100}})


def test_schedule_free_batch_norm_goes_by_the_averaged_weights() -> None:
    """As the library's README has it: the statistics are those of the weights that are judged."""
    data = {"name": "synthetic", "params": {"examples": 200}}
    spec = JOB_SPEC.validate_python(
        TRAINING
        | {"model": {"name": "resnet", "params": {"width": 2}}, "data": data}
        | {"optimizer": {"name": "sgd_schedulefree"}}
    )
    recipe = prepared(spec, CPU, Path())
    learner = start(recipe, np.random.SeedSequence(0))
    steps = updates(learner, recipe, Rates(30, lambda t: 0.5 + 0 * t, lambda _: None), pace=Pace())
    assert sum(map(len, steps)) == 30
    norm = learner.model[1]
    trained = norm.running_mean.clone()
    with averaged(learner, recipe):
        inputs = recipe.dataset.train.inputs[: 160 // 32 * 32]
        means = [learner.model[0](batch).mean((0, 2, 3)) for batch in inputs.split(32)]
        assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-6)
        assert not torch.allclose(norm.running_mean, trained, atol=1e-4)
    assert torch.equal(norm.running_mean, trained)
    assert norm.momentum == 0.1


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    ("schedule", "pointer"),
    [
        ({"policy": "one_cycle", "max_lr": 1.0}, "/schedule/max_momentum"),
        ({"policy": "auto"}, "/schedule/schedule/max_momentum"),
        (
            {
                "policy": "piecewise",
                "pieces": [
                    {"schedule": {"policy": "constant", "lr": 1.0}, "length": 20},
                    {"schedule": {"policy": "one_cycle", "max_lr": 1.0}},
                ],
            },
            "/schedule/pieces/1/schedule/max_momentum",
        ),
    ],
    ids=["one_cycle", "auto", "piecewise"],
)
def test_their_momentum_is_not_cycled(
    train: Record, name: str, schedule: dict[str, object], pointer: str
) -> None:
    with pytest.raises(EngineError, match=f"{pointer}: {name} does not take a momentum"):
        train(optimizer={"name": name}, schedule=schedule)
    fixed = {"policy": "one_cycle", "max_lr": 0.1, "base_momentum": None, "max_momentum": None}
    assert train(optimizer={"name": name}, schedule=fixed).result["iterations"] == 50
