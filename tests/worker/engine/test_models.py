"""The models fit every dataset's shape and are the networks their papers describe."""

from typing import Any

import pytest
import torch

from spec.components import ComponentParams, LenetParams, MlpParams, ResnetParams
from tests.worker.engine.conftest import Record
from worker.engine.models import Dropout, Shape, build

MODELS = [
    {"name": "mlp", "params": {"hidden": [8, 4], "activation": "gelu", "dropout": 0.1}},
    {"name": "mlp", "params": {"hidden": []}},
    {"name": "lenet", "params": {"channels": [2, 3], "hidden": 8}},
    {"name": "resnet", "params": {"depth": 8, "width": 2}},
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
@pytest.mark.parametrize("shape", [[1, 1, 1], [1, 8, 8], [1, 13, 28], [1, 28, 28], [3, 32, 32]])
def test_every_model_trains_on_every_shape(
    train: Record, model: dict[str, Any], shape: list[int]
) -> None:
    data = {"name": "synthetic", "params": {"examples": 50, "shape": shape, "classes": 7}}
    ours = train(model=model, data=data, batch_size=10, length={"iterations": 3})
    assert ours.result["iterations"] == 3
    assert ours.result["val_loss"] is not None


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimizer_learns_in_every_precision(
    train: Record, optimizer: str, precision: str
) -> None:
    ours = train(
        optimizer={"name": optimizer},
        precision=precision,
        schedule={"policy": "constant", "lr": 0.05 if optimizer == "sgd" else 0.005},
        length={"epochs": 1},
    )
    assert ours.result["val_accuracy"] > 0.7


def parameters(params: ComponentParams, shape: Shape) -> int:
    return sum(each.numel() for each in build(params, shape, 10).parameters())


def test_sizes_are_those_of_the_papers() -> None:
    assert parameters(MlpParams(), (1, 28, 28)) == 784 * 784 + 784 + 784 * 10 + 10
    # Caffe's LeNet
    assert parameters(LenetParams(), (1, 28, 28)) == 431_080
    # He et al., table 6: 0.27 and 0.85 million
    assert parameters(ResnetParams(depth=20), (3, 32, 32)) == pytest.approx(0.27e6, rel=0.02)
    assert parameters(ResnetParams(depth=56), (3, 32, 32)) == pytest.approx(0.85e6, rel=0.02)


def test_a_model_on_the_meta_device_has_the_same_parameters() -> None:
    for params in (MlpParams(), LenetParams(), ResnetParams(depth=14)):
        with torch.device("meta"):
            blueprint = build(params, (3, 32, 32), 10)
        real = build(params, (3, 32, 32), 10)
        assert [p.shape for p in blueprint.parameters()] == [p.shape for p in real.parameters()]


def test_dropout_keeps_the_mean_and_draws_from_its_own_stream() -> None:
    layer, ones = Dropout(0.25), torch.ones(100_000)
    layer.generator = torch.Generator().manual_seed(1)
    state = torch.random.get_rng_state()
    out = layer(ones)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert out.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert layer.eval()(ones) is ones
