"""The probe loss is that of one batch after each update, and looking changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spec.components import DigitsParams, ResnetParams
from tests.worker.engine.conftest import CPU, Record
from tests.worker.engine.plain import digits_mlp
from worker.engine import Pace, models
from worker.engine.data import load
from worker.engine.device import EXACT, Numerics
from worker.engine.probe import probe_loss


def test_a_row_holds_the_loss_after_its_update(train: Record) -> None:
    """With all examples in the batch, the loss before an update is the probe's after the last."""
    ours = train(batch_size=1437, record=["probe_loss"], length={"iterations": 20})
    assert ours.column("probe_loss")[:-1] == pytest.approx(ours.column("loss")[1:], rel=1e-5)


def test_the_batch_is_the_first_of_the_training_split(train: Record) -> None:
    ours = train(record=["probe_loss"], schedule={"policy": "constant", "lr": 0.0})
    model, _ = digits_mlp(0)
    data = load(DigitsParams(), device=CPU, data_dir=Path()).train
    loss = nn.functional.cross_entropy(model(data.inputs[:32]), data.labels[:32]).item()
    assert ours.column("probe_loss") == pytest.approx(np.full(50, loss), rel=1e-5)


MODELS = [
    {"name": "mlp", "params": {"dropout": 0.5}},
    {"name": "resnet", "params": {"width": 2}},
]


@pytest.mark.parametrize("model", MODELS, ids=["dropout", "batch norm"])
@pytest.mark.parametrize("pace", [Pace(), Pace(points=3)])
def test_looking_changes_nothing(train: Record, model: dict[str, Any], pace: Pace) -> None:
    job = {"model": model, "length": {"iterations": 20}}
    plain, watched = train(**job), train(**job, record=["probe_loss"], pace=pace)
    assert plain.column("loss").tobytes() == watched.column("loss").tobytes()
    assert plain.result["val_loss"] == watched.result["val_loss"]


def test_range_tests_have_it_too(range_test: Record) -> None:
    ours = range_test(record=["probe_loss"])
    for repeat in range(2):
        losses, probe = (ours.column(n, repeat=repeat) for n in ("loss", "probe_loss"))
        assert len(losses) == len(probe)
        assert probe[:20].std() < losses[:20].std()


def test_batch_norm_goes_by_the_batch_as_in_training() -> None:
    torch.manual_seed(0)
    model = models.build(ResnetParams(width=2), (1, 6, 6), 3)
    inputs, labels = torch.randn(16, 1, 6, 6) * 5 + 3, torch.randint(3, (16,))
    before = {name: each.clone() for name, each in model.state_dict().items()}
    numerics = Numerics(CPU, "fp32", EXACT, threads=1)
    found = probe_loss(model, inputs, labels, numerics)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert found.item() == nn.functional.cross_entropy(model(inputs), labels).item()
