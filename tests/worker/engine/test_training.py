"""A training computes what plain PyTorch computes, records it exactly, and ends as it should."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from schedules.values import F64
from spec.components import DigitsParams
from spec.jobs import JOB_SPEC
from spec.states import Reason
from tests.policies import CLOSED_FORM, example
from tests.worker.engine.conftest import CPU, TRAINING, Record
from tests.worker.engine.plain import digits_mlp, plain_loop
from worker.engine import Block, EngineError, Pace
from worker.engine.data import load
from worker.engine.device import EXACT, Numerics
from worker.engine.evaluate import Evaluation, evaluate
from worker.engine.loop import Rates, updates
from worker.engine.prepare import prepared
from worker.engine.recipe import start
from worker.engine.splits import Split
from worker.engine.watch import Watch

ADAM = {"name": "adam", "params": {"betas": [0.8, 0.99], "weight_decay": 1e-3}}
SGD = {"name": "sgd", "params": {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}}
CYCLE = {"policy": "triangular", "base_lr": 0.001, "max_lr": 0.01, "step_size": 10}
CYCLED = CYCLE | {"base_momentum": 0.7, "max_momentum": 0.95}
PIECE = {
    "policy": "piecewise",
    "pieces": [{"schedule": CYCLE | {"step_size": {"epochs": 1}}, "length": {"epochs": 5}}],
}
SCHEDULES = [
    CYCLED | {"window": "hann"},
    CYCLED | {"window": "welch", "step_size": {"epochs": 0.37}},
    CYCLE | {"policy": "triangular2", "step_size": 17, "warmup": 20},
    CYCLE | {"policy": "exp_range", "gamma": 0.997, "decay": "both", "window": "hann"},
    *(example(name) for name in [*CLOSED_FORM, "piecewise"]),
]


def reference(job: dict[str, Any], *, lr: F64, momentum: F64 | None = None) -> bytes:
    """The losses of a plain loop."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[job["name"]]
    losses, _ = plain_loop(
        lambda model: kind(model.parameters(), fused=True, **job["params"]),
        lr=lr,
        momentum=momentum,
    )
    assert losses[-10:].mean() < 0.9 * losses[0]
    return losses.tobytes()


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("schedule", [CYCLE, CYCLED], ids=["lr", "lr and momentum"])
def test_losses_equal_those_of_a_plain_loop(
    train: Record, optimizer: dict[str, Any], schedule: dict[str, Any]
) -> None:
    ours = train(optimizer=optimizer, schedule=schedule, seed=7, length={"iterations": 100})
    t = np.arange(100)
    expected = reference(
        optimizer,
        lr=ours.plan.schedule.lr_at(t, iterations=100),
        momentum=ours.plan.schedule.momentum_at(t, iterations=100),
    )
    assert ours.column("loss").tobytes() == expected


def test_a_plain_loop_without_the_momentum_differs(train: Record) -> None:
    ours = train(optimizer=SGD, schedule=CYCLED, seed=7)
    lr = ours.plan.schedule.lr_at(np.arange(50), iterations=50)
    assert ours.column("loss").tobytes() != reference(SGD, lr=lr)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["policy"])
def test_recorded_rates_are_the_schedules_to_the_bit(
    train: Record, schedule: dict[str, Any]
) -> None:
    ours = train(schedule=schedule, length={"iterations": 211}, pace=Pace(points=7))
    t = np.arange(211)
    lr = ours.plan.schedule.lr_at(t, iterations=211)
    assert ours.column("lr").tobytes() == lr.tobytes()
    momentum = ours.plan.schedule.momentum_at(t, iterations=211)
    if momentum is None:
        assert not any("momentum" in block.columns for block in ours.blocks)
    else:
        assert ours.column("momentum").tobytes() == momentum.tobytes()


@pytest.mark.parametrize(
    "pace",
    [Pace(), Pace(first=0, longest=0), Pace(points=1), Pace(points=13)],
    ids=["again", "a block each", "a point each", "small buffer"],
)
def test_a_seed_means_the_same_series_however_it_is_cut(train: Record, pace: Pace) -> None:
    model = {"name": "mlp", "params": {"hidden": [32], "dropout": 0.3}}
    job = {"model": model, "record": ["accuracy", "grad_norm"], "length": {"iterations": 100}}
    first, second = train(**job), train(**job, pace=pace)
    for name in ("loss", "accuracy", "grad_norm", "lr"):
        assert first.column(name).tobytes() == second.column(name).tobytes()
    del first.result["seconds"], second.result["seconds"]
    assert first.result == second.result


@pytest.mark.parametrize("stop", [30, 44, 60])
def test_a_learner_goes_on_where_it_was(train: Record, stop: int) -> None:
    """Over the end of an epoch, before it, and at it."""
    spec = JOB_SPEC.validate_python(TRAINING | {"optimizer": ADAM})
    recipe = prepared(spec, CPU, Path())
    learner = start(recipe, np.random.SeedSequence(0))
    parts = [
        block
        for begin, end in ((0, stop), (stop, 100))
        for block in updates(
            learner,
            recipe,
            Rates(end, lambda t: 0.001 * (1 + t), lambda _: None),
            pace=Pace(),
            start=begin,
        )
    ]
    whole = updates(
        start(recipe, np.random.SeedSequence(0)),
        recipe,
        Rates(100, lambda t: 0.001 * (1 + t), lambda _: None),
        pace=Pace(),
        stops=(5, 77),
        every=30,
    )
    one, other = (
        np.concatenate([each.columns["loss"] for each in blocks]) for blocks in (parts, whole)
    )
    assert one.tobytes() == other.tobytes()
    assert parts[-1].start + len(parts[-1]) == 100


def test_blocks_end_at_every_stop() -> None:
    spec = JOB_SPEC.validate_python(TRAINING)
    recipe = prepared(spec, CPU, Path())
    blocks = updates(
        start(recipe, np.random.SeedSequence(0)),
        recipe,
        Rates(50, lambda t: 0 * t, lambda _: None),
        pace=Pace(first=60, longest=60, points=12),
        every=20,
        stops=(7, 21, 40),
    )
    ends = [block.start + len(block) for block in blocks]
    assert ends == [7, 19, 20, 21, 33, 40, 50]


def test_another_seed_means_another_series(train: Record) -> None:
    assert train(seed=1).column("loss").tolist() != train(seed=2).column("loss").tolist()


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "params": {"dropout": 0.5}},
        {"name": "resnet", "params": {"width": 2}},
    ],
    ids=["dropout", "batch norm"],
)
def test_neither_evaluating_nor_recording_changes_the_training(
    train: Record, model: dict[str, Any]
) -> None:
    job = {"model": model, "length": {"iterations": 20}}
    plain = train(**job)
    watched = train(**job, evaluate={"every": {"iterations": 3}}, record=["accuracy", "grad_norm"])
    assert plain.column("loss").tobytes() == watched.column("loss").tobytes()
    assert plain.result["val_loss"] == watched.result["val_loss"]


def test_evaluations_come_when_due_and_at_the_end(train: Record) -> None:
    ours = train(length={"iterations": 50}, evaluate={"every": {"iterations": 20}})
    assert ours.column("iteration").tolist() == [20, 40, 50]
    assert ours.column("iteration").dtype == np.int64
    assert [b.start for b in ours.blocks if b.series == "validation"] == [20, 40, 50]
    assert train(evaluate={"every": {"epochs": 0.5}}).column("iteration").tolist() == [22, 44, 50]
    assert train().column("iteration").tolist() == [50]


def test_an_evaluation_is_over_the_whole_split() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    split = Split(torch.randn(2345, 1, 2, 2), torch.randint(3, (2345,)))
    model(split.inputs)  # from now on batch norm has statistics other than those of any batch
    found = evaluate(model, split, Numerics(torch.device("cpu"), "fp32", EXACT, threads=1), 7)
    assert model.training
    scores = model.eval()(split.inputs)
    loss = nn.functional.cross_entropy(scores, split.labels)
    assert found.loss == pytest.approx(loss.item(), rel=1e-5)
    assert found.accuracy == (scores.argmax(1) == split.labels).sum().item() / 2345
    assert found.iteration == 7


def test_the_best_evaluation_has_the_highest_accuracy_then_the_lowest_loss() -> None:
    nan, worse, better = (
        Evaluation(1, float("nan"), 0.5),
        Evaluation(2, 3.0, 0.5),
        Evaluation(3, 2.0, 0.5),
    )
    accurate = Evaluation(4, 9.0, 0.6)
    found = sorted([accurate, better, nan, worse], key=Evaluation.rank)
    assert found == [nan, worse, better, accurate]
    assert nan.result()["val_loss"] is None


def test_the_result_says_how_it_went(train: Record) -> None:
    ours = train(length={"epochs": 3}, evaluate={"every": {"epochs": 1}})
    assert ours.plan.iterations == 132
    assert ours.plan.iterations_per_epoch == 44
    losses, val_losses = ours.column("loss"), ours.column("val_loss")
    assert ours.result["iterations"] == len(losses) == 132
    assert ours.result["train_loss"] == pytest.approx(losses[-44:].mean())
    assert ours.result["val_loss"] == val_losses[-1]
    assert ours.result["val_accuracy"] == ours.column("val_accuracy")[-1] > 0.9
    assert ours.result["best"]["val_accuracy"] == ours.column("val_accuracy").max()
    assert ours.result["diverged_at"] is None
    assert ours.result["seconds"] > 0


def test_accuracy_and_gradient_norm_are_those_of_the_batch(train: Record) -> None:
    ours = train(record=["accuracy", "grad_norm"], batch_size=1437, length={"iterations": 1})
    data = load(DigitsParams(), device=torch.device("cpu"), data_dir=Path()).train
    model, _ = digits_mlp(0)
    scores = model(data.inputs)
    nn.functional.cross_entropy(scores, data.labels).backward()
    norm = torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm()
    assert ours.column("grad_norm")[0] == pytest.approx(norm.item(), rel=1e-5)
    hits = (scores.argmax(1) == data.labels).float().mean()
    assert ours.column("accuracy")[0] == pytest.approx(hits.item())


def test_lengths_in_cycles_follow_the_resolved_step_size(train: Record) -> None:
    ours = train(schedule=CYCLE | {"step_size": {"epochs": 0.25}}, length={"cycles": 3})
    assert ours.plan.schedule.step_size == 11
    assert ours.plan.iterations == ours.result["iterations"] == 66


@pytest.mark.parametrize(("lr", "diverged"), [(10.0, True), (1e-9, False), (0.05, False)])
def test_a_training_that_ends_worse_than_it_began_has_diverged(
    train: Record, lr: float, diverged: bool
) -> None:
    optimizer = {"name": "sgd", "params": {"momentum": 0.9}}
    schedule = {"policy": "constant", "lr": lr}
    ours = train(schedule=schedule, optimizer=optimizer, length={"iterations": 200})
    assert (ours.result["diverged_at"] is not None) == diverged
    assert ours.result["iterations"] == 200


@pytest.mark.parametrize(
    ("losses", "diverged_at"),
    [
        ([1, 9, 1, 9, 9], 3),
        ([1, 9, 9, 9, 1], None),
        ([1, 1, np.nan, np.nan], 2),
        ([1, np.nan, 9, np.inf], 1),
        ([1, np.nan, 1, 1], None),
        ([np.nan, np.nan], 0),
    ],
)
def test_it_has_diverged_where_its_losses_have_left_for_good(
    losses: list[float], diverged_at: int | None
) -> None:
    watch = Watch(4, means=False)
    for i, loss in enumerate(losses):
        watch.take(Block("train", 0, i, {"loss": np.array([loss], np.float32)}))
    assert watch.end()[1] == diverged_at


@pytest.mark.parametrize("pace", [Pace(), Pace(points=3), Pace(first=0, longest=0)])
def test_a_diverged_training_stops_at_the_tenth_nan(train: Record, pace: Pace) -> None:
    ours = train(
        model={"name": "mlp", "params": {"hidden": [32, 32]}},
        schedule={"policy": "constant", "lr": 1e6},
        evaluate={"every": {"iterations": 1000}},
        length={"iterations": 3000},
        pace=pace,
    )
    losses = ours.column("loss")
    first = ours.result["diverged_at"]
    assert np.isfinite(losses[:first]).all()
    assert not np.isfinite(losses[first:]).any()
    assert ours.result["iterations"] == len(losses) == first + 10
    assert ours.result["val_loss"] is ours.result["val_accuracy"] is ours.result["best"] is None
    json.dumps(ours.result, allow_nan=False)


def test_no_iteration_waits_for_the_device(train: Record, monkeypatch: pytest.MonkeyPatch) -> None:
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
            length={"iterations": iterations},
            record=["accuracy", "grad_norm"],
            pace=Pace(first=60, longest=60),
        )
        counts.append(len(waits))
        waits.clear()
    assert counts[0] == counts[1] > 0


def test_a_batch_beyond_the_training_set_is_refused(train: Record) -> None:
    assert train(batch_size=1437, length={"iterations": 2}).plan.iterations_per_epoch == 1
    with pytest.raises(EngineError, match="/batch_size: 1438 is more than the 1437") as refused:
        train(batch_size=1438)
    assert refused.value.reason is Reason.INVALID


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "gpt"}}, "/model/name: gpt is none of mlp"),
        ({"data": {"name": "imagenet"}}, "/data/name: imagenet"),
        ({"optimizer": {"name": "sgd", "params": {"betas": 1}}}, "/optimizer/params/betas: Extra"),
        ({"model": {"name": "mlp", "params": {"hidden": [0]}}}, "/model/params/hidden/0: "),
        ({"schedule": CYCLE | {"max_lr": {"range_test": "job_1"}}}, "/schedule/max_lr: "),
        (
            {"schedule": CYCLE | {"step_size": {"epochs": 1e6}}, "batch_size": 1},
            "/schedule/step_size/number: Input should be less",
        ),
        (
            {"schedule": CYCLE | {"step_size": {"epochs": 1e5}}, "length": {"cycles": 1000}},
            "/length: 8800000000 iterations",
        ),
        (
            {"schedule": PIECE, "length": {"cycles": 3}},
            "/length/cycles: the schedule has fewer than 3 cycles",
        ),
    ],
)
def test_what_the_engine_does_not_know_is_refused(
    train: Record, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message) as refused:
        train(**changes)
    assert refused.value.reason is Reason.INVALID


def test_what_torch_cannot_compute_is_told_in_its_words(train: Record) -> None:
    with pytest.raises(EngineError, match="ValueError: Expected more than 1 value") as failed:
        train(
            model={"name": "resnet"},
            data={"name": "synthetic", "params": {"shape": [1, 1, 1]}},
            batch_size=1,
        )
    assert failed.value.reason is Reason.CODE
