"""Snapshots are the model at the end of each cycle; their ensemble is the mean of what it says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spec.components import DigitsParams
from spec.states import Reason
from tests.worker.engine.conftest import CPU, Record
from tests.worker.engine.plain import digits_mlp
from worker.engine import EngineError, Pace, Snapshot, course, memory
from worker.engine.curvature import largest_eigenvalue
from worker.engine.data import load

CYCLES = {"schedule": {"policy": "sgdr", "lr": 0.2, "t_0": 20}, "length": {"iterations": 90}}


def scores(snapshot: Snapshot) -> torch.Tensor:
    """What a snapshot says of the validation split."""
    model, _ = digits_mlp(0)
    model.load_state_dict(snapshot.weights)
    return model(load(DigitsParams(), device=CPU, data_dir=Path()).validation.inputs).detach()


def test_each_cycle_leaves_the_model_as_it_was_then(train: Record) -> None:
    ours = train(**CYCLES, snapshots={"average_last": 3})
    labels = load(DigitsParams(), device=CPU, data_dir=Path()).validation.labels
    assert [each.iteration for each in ours.snapshots] == [20, 40, 60, 80]
    assert ours.column("iteration").tolist() == [20, 40, 60, 80, 90]
    for each, row, told in zip(
        ours.snapshots, ours.column("val_loss"), ours.result["snapshots"], strict=False
    ):
        loss = nn.functional.cross_entropy(scores(each), labels).item()
        assert told["val_loss"] == row == pytest.approx(loss, rel=1e-5)
        assert told["iteration"] == each.iteration
        assert told["curvature"] is told["file"] is None
    mean = torch.stack([scores(each).double().softmax(1) for each in ours.snapshots[1:]]).mean(0)
    assert ours.result["ensemble"] == {
        "members": 3,
        "val_loss": pytest.approx(nn.functional.nll_loss(mean.log(), labels).item(), rel=1e-5),
        "val_accuracy": pytest.approx((mean.argmax(1) == labels).double().mean().item()),
    }
    json.dumps(ours.result, allow_nan=False)


def test_taking_them_changes_nothing_else(train: Record) -> None:
    plain = train(**CYCLES)
    ours = train(**CYCLES, snapshots={"curvature": True}, pace=Pace(first=0, longest=0))
    again = train(**CYCLES, snapshots={"curvature": True}, evaluate={"every": {"iterations": 20}})
    assert plain.column("loss").tobytes() == ours.column("loss").tobytes()
    assert ours.column("iteration").tolist() == again.column("iteration").tolist()
    for each in (plain, ours, again):
        del each.result["seconds"]
    assert ours.result == again.result
    # the best may be one that only a snapshot has looked at
    for name in ("iterations", "train_loss", "val_loss", "val_accuracy", "diverged_at"):
        assert ours.result[name] == plain.result[name]
    assert ours.result.keys() - plain.result.keys() == {"snapshots", "ensemble"}


def test_the_curvature_is_that_of_the_snapshot_on_the_probe_batch(train: Record) -> None:
    ours = train(**CYCLES, snapshots={"curvature": True}, seed=3)
    probe = load(DigitsParams(), device=CPU, data_dir=Path()).train
    for each, told in zip(ours.snapshots, ours.result["snapshots"], strict=True):
        model, _ = digits_mlp(0)
        model.load_state_dict(each.weights)
        found = largest_eigenvalue(model, probe.inputs[:32], probe.labels[:32], seed=3)
        assert told["curvature"] == pytest.approx(found, rel=1e-3)


def test_the_ensemble_may_be_surer_of_a_wrong_answer_than_single_precision_can_say(
    train: Record,
) -> None:
    ours = train(
        **CYCLES | {"schedule": {"policy": "sgdr", "lr": 50.0, "t_0": 20}}, snapshots="cycle_end"
    )
    assert ours.result["ensemble"]["members"] == 4
    assert np.isfinite(ours.result["ensemble"]["val_loss"])


@pytest.mark.parametrize("name", ["sgd_schedulefree", "adamw_schedulefree"])
def test_schedule_free_snapshots_are_the_averaged_weights(train: Record, name: str) -> None:
    ours = train(**CYCLES, optimizer={"name": name}, snapshots="cycle_end")
    labels = load(DigitsParams(), device=CPU, data_dir=Path()).validation.labels
    for each, told in zip(ours.snapshots, ours.result["snapshots"], strict=True):
        loss = nn.functional.cross_entropy(scores(each), labels).item()
        assert told["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_a_training_that_diverges_keeps_those_it_has(train: Record) -> None:
    ours = train(
        schedule={
            "policy": "piecewise",
            "pieces": [
                {"schedule": {"policy": "sgdr", "lr": 0.1, "t_0": 20}, "length": 20},
                {"schedule": {"policy": "sgdr", "lr": 1e6, "t_0": 20}},
            ],
        },
        model={"name": "mlp", "params": {"hidden": [32, 32]}},
        length={"iterations": 200},
        snapshots="cycle_end",
    )
    assert ours.result["diverged_at"] is not None
    assert ours.result["snapshots"][0]["iteration"] == 20
    assert ours.result["val_loss"] is None
    json.dumps(ours.result, allow_nan=False)


def test_an_ensemble_has_to_fit(train: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    many = CYCLES | {"schedule": {"policy": "sgdr", "lr": 0.1, "t_0": 1}}
    needed = 64 * 4 * 360 * 10
    monkeypatch.setattr(memory, "available", lambda _: needed)
    train(**many, snapshots={"average_last": 64})
    monkeypatch.setattr(memory, "available", lambda _: needed - 1)
    train(**CYCLES, snapshots={"average_last": 64})  # of which there are four
    with pytest.raises(EngineError, match="an ensemble of 64 snapshots needs") as refused:
        train(**many, snapshots={"average_last": 64})
    assert refused.value.reason is Reason.OOM


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": {"iterations": 19}}, "/snapshots: no cycle .* within the 19 iterations"),
        (
            {"schedule": {"policy": "sgdr", "lr": 0.1, "t_0": 1}, "length": {"iterations": 61}},
            "/snapshots: 61 cycles are more than the limit of 60",
        ),
    ],
)
def test_none_or_too_many_are_refused(
    train: Record, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(course, "MAX_SNAPSHOTS", 60)
    with pytest.raises(EngineError, match=message) as refused:
        train(**CYCLES | changes, snapshots="cycle_end")
    assert refused.value.reason is Reason.INVALID
