"""Learning rates that differ from layer to layer keep their ratios under every schedule."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spec.components import OPTIMIZERS, AdamParams, LenetParams, MlpParams, ResnetParams, SgdParams
from spec.groups import LrGroups
from spec.states import Reason
from tests.worker.engine.conftest import Record
from tests.worker.engine.plain import digits_mlp, plain_loop
from worker.engine import EngineError, models, optimizers
from worker.engine.groups import groups
from worker.engine.optimizers import set_lr


def factors(model: nn.Module, **wanted: Any) -> dict[str, float]:
    """Parameter name -> factor."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: group["factor"]
        for group in groups(model, LrGroups(**wanted))
        for parameter in group["params"]
    }


def test_each_layer_further_from_the_output_has_its_rate_divided_once_more() -> None:
    model = models.build(MlpParams(hidden=(4, 5), dropout=0.1), (1, 2, 2), 3)
    found = factors(model, layer_decay=2.0)
    assert found == {
        "1.weight": 0.25,
        "1.bias": 0.25,
        "4.weight": 0.5,
        "4.bias": 0.5,
        "7.weight": 1,
        "7.bias": 1,
    }


def test_a_block_is_one_layer() -> None:
    found = factors(models.build(ResnetParams(), (3, 8, 8), 10), layer_decay=2.6)
    depths = {name: round(-np.log(each) / np.log(2.6)) for name, each in found.items()}
    assert depths["7.weight"] == depths["7.bias"] == 0
    assert depths["5.conv1.weight"] == depths["5.norm2.bias"] == 1
    assert [depths[f"{layer}.weight"] for layer in ("0", "1")] == [5, 4]


def test_the_first_pattern_that_matches_multiplies() -> None:
    model = models.build(LenetParams(), (1, 8, 8), 10)
    multipliers = {"0.weight": 8.0, "0.*": 3.0, "*.bias": 0.0, "[57].*": 0.5}
    assert factors(model, layer_decay=2.0, multipliers=multipliers) == {
        "0.weight": 1.0,
        "0.bias": 0.375,
        "2.weight": 0.25,
        "2.bias": 0.0,
        "5.weight": 0.25,
        "5.bias": 0.0,
        "7.weight": 0.5,
        "7.bias": 0.0,
    }


def test_deep_layers_may_come_to_nothing() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(150)))
    assert factors(model, layer_decay=1000.0)["0.weight"] == 0


TRIANGLE = {"policy": "triangular", "base_lr": 0.002, "max_lr": 0.02, "step_size": 10}


@pytest.mark.parametrize("params", [SgdParams(momentum=0.9), AdamParams()], ids=["sgd", "adam"])
def test_losses_are_those_of_a_plain_loop_with_groups(
    train: Record, params: SgdParams | AdamParams
) -> None:
    ours = train(
        optimizer={"name": params.component, "params": params.model_dump(mode="json")},
        lr_groups={"layer_decay": 4.0, "multipliers": {"1.bias": 0}},
        schedule=TRIANGLE,
        seed=7,
    )
    lr = ours.plan.schedule.lr_at(np.arange(50.0), iterations=50)
    kind = torch.optim.SGD if isinstance(params, SgdParams) else torch.optim.Adam

    def make(model: nn.Sequential) -> torch.optim.Optimizer:
        rates = {model[1].weight: 0.25, model[1].bias: 0.0, model[3].weight: 1, model[3].bias: 1}
        split = [{"params": [weight], "factor": factor} for weight, factor in rates.items()]
        return kind(split, fused=True, **params.model_dump())

    losses, _ = plain_loop(make, lr=lr)
    assert ours.column("lr").tobytes() == lr.tobytes()
    assert ours.column("loss").tobytes() == losses.tobytes()


def test_without_groups_all_parameters_are_one(train: Record) -> None:
    plain, ours = train(), train(lr_groups={"layer_decay": 1.0, "multipliers": {"*": 1.0}})
    assert plain.column("loss").tobytes() == ours.column("loss").tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_of_zero_freezes(train: Record, name: str) -> None:
    ours = train(
        optimizer={"name": name},
        lr_groups={"multipliers": {"1.*": 0}},
        schedule={"policy": "triangular", "base_lr": 0.1, "max_lr": 0.2, "step_size": 10},
        snapshots="cycle_end",
    )
    before, _ = digits_mlp(0)
    for weight, now in ours.snapshots[-1].weights.items():
        assert torch.equal(now, before.state_dict()[weight]) == weight.startswith("1.")


@pytest.mark.parametrize("multipliers", [{"1.*": 0}, {"*": 0}], ids=["some", "all"])
@pytest.mark.parametrize("params", [{"weight_decay": 0.1}, {"betas": [0, 0.999]}])
def test_prodigy_freezes_what_it_would_move_without_a_rate(
    train: Record, params: dict[str, Any], multipliers: dict[str, float]
) -> None:
    ours = train(
        optimizer={"name": "prodigy", "params": params},
        lr_groups={"multipliers": multipliers},
        schedule={"policy": "sgdr", "lr": 1.0, "t_0": 25},
        snapshots="cycle_end",
    )
    before, _ = digits_mlp(0)
    for weight, now in ours.snapshots[-1].weights.items():
        frozen = weight.startswith("1.") or "*" in multipliers
        assert torch.equal(now, before.state_dict()[weight]) == frozen


def test_the_rate_reaches_each_group_times_its_factor() -> None:
    model, _ = digits_mlp(0)
    wanted = LrGroups(layer_decay=2.0, multipliers={"1.bias": 3.0})
    optimizer = optimizers.build(SgdParams(), groups(model, wanted))
    set_lr(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.15, 0.3 * 1.5, 0.3]


def test_a_range_test_ramps_all_groups(range_test: Record) -> None:
    plain, ours, frozen = (
        range_test(lr_groups={"multipliers": multipliers})
        for multipliers in ({"*": 1}, {"1.*": 0.1}, {"*": 0})
    )
    for each in (plain, ours, frozen):
        assert each.column("lr")[0] == 1e-4
    assert plain.column("loss")[:20].tobytes() != ours.column("loss")[:20].tobytes()
    assert frozen.result["suggestion"] is None


def test_a_pattern_that_matches_nothing_is_refused(train: Record) -> None:
    message = "/lr_groups/multipliers: 'head.*' matches no parameter of the model: 1.weight, 1.bias"
    with pytest.raises(EngineError, match=re.escape(message)) as refused:
        train(lr_groups={"multipliers": {"1.*": 1.0, "head.*": 1.0}})
    assert refused.value.reason is Reason.INVALID


@pytest.mark.parametrize("wanted", [{"layer_decay": 2.6}, {"multipliers": {"1.*": 0.5}}])
def test_prodigy_has_one_rate(train: Record, wanted: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="/lr_groups: prodigy has one learning rate"):
        train(optimizer={"name": "prodigy"}, lr_groups=wanted)
