"""Schedules that react to what a training shows, in the loop that they steer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spec.components import DigitsParams
from spec.states import Reason
from tests.worker.engine.conftest import CPU, Record
from tests.worker.engine.plain import EPOCH, digits_mlp
from worker.engine import EngineError, Pace
from worker.engine.data import load

PACES = [Pace(), Pace(first=0, longest=0), Pace(points=7)]
PLATEAU = {"policy": "plateau", "lr": 0.2, "factor": 0.5, "patience": 1, "threshold": 0.2}
EVALUATED = {"evaluate": {"every": {"iterations": 10}}, "length": {"iterations": 300}}


def reduced(metrics: list[float], *, sign: int, cooldown: int = 0) -> list[float]:
    """The rates between looks, by the rule of torch's ReduceLROnPlateau for the fields above."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=PLATEAU["lr"])
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min" if sign > 0 else "max",
        factor=0.5,
        patience=1,
        threshold=0.2,
        cooldown=cooldown,
        min_lr=0.01,
    )
    rates = [0.2]
    for metric in metrics:
        rule.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(("metric", "sign"), [("val_loss", 1), ("val_accuracy", -1)])
def test_the_rate_falls_when_evaluations_stop_improving(
    train: Record, metric: str, sign: int, pace: Pace
) -> None:
    schedule = PLATEAU | {"metric": metric, "min_lr": 0.01}
    ours = train(schedule=schedule, **EVALUATED, pace=pace)
    expected = reduced(ours.column(metric).tolist()[:-1], sign=sign)
    assert ours.column("lr").tolist() == pytest.approx(np.repeat(expected, 10).tolist())
    assert len(set(expected)) > 2


@pytest.mark.parametrize("every", [None, {"every": {"iterations": 10}}], ids=["epochs", "10"])
def test_the_training_loss_is_looked_at_in_means(
    train: Record, every: dict[str, Any] | None
) -> None:
    schedule = PLATEAU | {"metric": "train_loss", "min_lr": 0.01, "cooldown": 1}
    job = {"schedule": schedule, "evaluate": every, "length": {"epochs": 10}}
    ours, again = train(**job), train(**job, pace=Pace(points=3))
    length = 10 if every else 44
    means = ours.column("loss")[: 440 // length * length].reshape(-1, length)
    expected = reduced(means.astype(np.float64).mean(axis=1).tolist(), sign=1, cooldown=1)
    rates = np.repeat(expected, length)[:440]
    assert ours.column("lr").tolist() == pytest.approx(rates.tolist())
    assert len(set(expected)) > 1
    for name in ("loss", "lr"):
        assert ours.column(name).tobytes() == again.column(name).tobytes()


def test_a_plateau_may_begin_with_a_warm_up(train: Record) -> None:
    ours = train(schedule=PLATEAU | {"warmup": 20}, **EVALUATED)
    assert ours.column("lr")[:20].tolist() == pytest.approx((0.01 * np.arange(1, 21)).tolist())
    assert ours.column("lr")[-1] < 0.2


def in_torch(
    kind: type[torch.optim.Optimizer],
    params: dict[str, Any],
    *,
    beta: float,
    factors: tuple[float, float],
    count: int,
) -> tuple[list[float], NDArray[np.float64]]:
    """Rates and losses of hypergradient descent in double precision, digit by digit.

    The direction is found from the weights themselves: what an update moved, over its rate.
    """
    data = load(DigitsParams(), device=CPU, data_dir=Path()).train
    model, shuffle = digits_mlp(0)
    model.double()
    layers = [list(model[1].parameters()), list(model[3].parameters())]
    optimizer = kind([{"params": each, "lr": 0.0} for each in layers], **params)
    rates, losses, lr = [], [], 0.02
    moved: list[torch.Tensor] = []
    while len(losses) < count:
        for batch in torch.randperm(1437, generator=shuffle)[:EPOCH].split(32):
            scores = model(data.inputs[batch].double())
            loss = nn.functional.cross_entropy(scores, data.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            if moved:
                slopes = [w.grad for each in layers for w in each]
                lr += beta * sum(float((g * u).sum()) for g, u in zip(slopes, moved, strict=True))
            before = [w.detach().clone() for each in layers for w in each]
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = lr * factor
            optimizer.step()
            after = [w.detach() for each in layers for w in each]
            moved = [(a - b) / lr for a, b in zip(before, after, strict=True)]
            rates.append(lr)
            losses.append(loss.item())
            if len(losses) == count:
                break
    return rates, np.array(losses)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 1.0)], ids=["one group", "two groups"])
@pytest.mark.parametrize(
    ("name", "params", "beta"),
    [
        ("sgd", {}, 1e-2),
        ("sgd", {"momentum": 0.9, "nesterov": True}, 1e-4),
        ("adam", {}, 1e-5),
    ],
    ids=["sgd", "nesterov", "adam"],
)
def test_a_learned_rate_is_that_of_a_plain_loop(
    train: Record, name: str, params: dict[str, Any], beta: float, factors: tuple[float, float]
) -> None:
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]
    rates, losses = in_torch(kind, params, beta=beta, factors=factors, count=60)
    groups = {"lr_groups": {"layer_decay": 2.0}} if factors[0] < 1 else {}
    ours = train(
        optimizer={"name": name, "params": params},
        schedule={"policy": "hypergradient", "lr": 0.02, "hyper_lr": beta},
        length={"iterations": 60},
        **groups,
    )
    assert ours.column("lr").dtype == np.float64
    assert ours.column("lr").tolist() == pytest.approx(rates, rel=1e-4)
    assert ours.column("loss").tolist() == pytest.approx(losses.tolist(), rel=1e-3)
    assert rates[-1] != pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize(("name", "beta"), [("sgd", 1e-3), ("adamw", 1e-7)])
def test_a_rate_is_learned_as_fast_as_the_paper_does(train: Record, name: str, beta: float) -> None:
    found = [
        train(
            optimizer={"name": name},
            schedule={"policy": "hypergradient", "lr": 0.02, "hyper_lr": hyper_lr},
        ).column("lr")
        for hyper_lr in (None, beta, 2 * beta)
    ]
    assert found[0].tolist() == found[1].tolist() != found[2].tolist()


@pytest.mark.parametrize("pace", PACES)
def test_a_seed_means_the_same_learned_rates_however_they_are_cut(
    train: Record, pace: Pace
) -> None:
    job = {"schedule": {"policy": "hypergradient", "lr": 0.02, "warmup": 5}}
    first, second = train(**job), train(**job, pace=pace, evaluate={"every": {"iterations": 9}})
    for name in ("loss", "lr"):
        assert first.column(name).tobytes() == second.column(name).tobytes()
    lr = first.column("lr")
    assert lr[0] == pytest.approx(0.004)
    assert len(set(lr[5:].tolist())) == 45


@pytest.mark.parametrize("hyper_lr", [1e6, 1e3])
def test_a_rate_that_runs_away_ends_a_training_as_diverged(train: Record, hyper_lr: float) -> None:
    ours = train(
        model={"name": "mlp", "params": {"hidden": [32, 32]}},
        optimizer={"name": "sgd", "params": {"momentum": 0.9}},
        schedule={"policy": "hypergradient", "lr": 0.02, "hyper_lr": hyper_lr},
        length={"iterations": 500},
    )
    assert ours.result["diverged_at"] is not None
    json.dumps(ours.result, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schedule": {"policy": "hypergradient"}, "optimizer": {"name": "rmsprop"}},
            "/optimizer/name: policy 'hypergradient' has a rule for each of sgd, adam, adamw",
        ),
        (
            {"schedule": {"policy": "hypergradient"}, "optimizer": {"name": "sgd_schedulefree"}},
            "/optimizer/name: ",
        ),
        ({"schedule": PLATEAU}, "/evaluate: .* val_loss"),
        ({"schedule": PLATEAU | {"metric": "val_accuracy"}}, "/evaluate: .* val_accuracy"),
    ],
)
def test_what_cannot_be_steered_is_refused(
    train: Record, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message) as refused:
        train(**changes)
    assert refused.value.reason is Reason.INVALID


def test_a_learned_rate_never_waits_for_the_device(
    train: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(length={"iterations": 1})  # the data is loaded, and kept
    waits: list[int] = []
    for name in ("item", "__float__", "__bool__", "__int__", "tolist", "numpy"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda *args, real=real: waits.append(1) or real(*args)
        )
    counts = []
    for iterations in (20, 40):
        train(
            schedule={"policy": "hypergradient"},
            optimizer={"name": "adam"},
            record=["probe_loss"],
            length={"iterations": iterations},
            pace=Pace(first=60, longest=60),
        )
        counts.append(len(waits))
        waits.clear()
    assert counts[0] == counts[1] > 0
