"""A range test runs up its ramp from derived seeds and stops where divergence is confirmed."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from schedules.analysis import Analysis
from schedules.ramp import Ramp
from schedules.values import F64, MAX_RATE
from tests.worker.engine.conftest import Record
from worker.engine import Pace, repeat, step
from worker.engine import range_test as module

PACES = [Pace(), Pace(first=0, longest=0), Pace(points=7)]
"""Blocks of all sizes."""

SHORT = {"start": 1e-4, "end": 0.1, "iterations": 60}
"""Ends before the loss comes back up."""


def test_each_repeat_is_a_fresh_run_up_the_ramp(range_test: Record) -> None:
    ours = range_test(range=SHORT, repeats=3, extensions=0)
    assert ours.plan.iterations == 180
    assert ours.plan.schedule is None
    assert ours.result["iterations"] == 180
    assert ours.result["range"] == {"start": 1e-4, "end": 0.1, "iterations": 60, "extended": 0}
    assert ours.result["diverged"] == [False] * 3
    ramp = Ramp.model_validate(SHORT)
    first_losses = set()
    for each in range(3):
        expected = ramp.lr_at(np.arange(60.0))
        assert ours.column("lr", repeat=each).tobytes() == expected.tobytes()
        assert ours.column("loss", repeat=each)[0] == pytest.approx(np.log(10), rel=0.2)
        first_losses.add(ours.column("loss", repeat=each)[0].item())
    assert len(first_losses) == 3
    assert not any(block.series == "validation" for block in ours.blocks)


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(
    "job",
    [
        {"range": {"start": 1e-3, "end": 1e6, "iterations": 100}, "record": ["accuracy"]},
        {"range": SHORT},
        {"range": SHORT, "loss": "validation", "evaluate": {"every": {"iterations": 2}}},
        {"range": {"start": 1e-3, "end": 1e3, "iterations": 60}, "loss": "validation"},
    ],
    ids=["diverges", "extended", "extended by validation loss", "validation loss"],
)
def test_a_seed_means_the_same_bytes_however_they_are_cut(
    range_test: Record, pace: Pace, job: dict[str, Any]
) -> None:
    first, second = range_test(**job), range_test(**job, pace=pace)
    names = {name for block in first.blocks for name in block.columns}
    for each in range(2):
        for name in names:
            ours, theirs = (run.column(name, repeat=each) for run in (first, second))
            assert ours.tobytes() == theirs.tobytes()
    assert [plan.iterations for plan in first.plans] == [plan.iterations for plan in second.plans]
    del first.result["seconds"], second.result["seconds"]
    assert first.result == second.result


@pytest.mark.parametrize("pace", PACES)
def test_a_repeat_stops_exactly_where_divergence_is_confirmed(
    range_test: Record, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divergence(losses: F64, *, planned: int, head: int) -> int | None:
        assert (planned, head) == (60, 5)
        return 37 if len(losses) >= 37 else None

    monkeypatch.setattr(repeat, "divergence", divergence)
    ours = range_test(pace=pace)
    assert [len(ours.column("loss", repeat=each)) for each in range(2)] == [37, 37]
    assert len(ours.column("lr", repeat=1)) == 37
    assert ours.result["iterations"] == 74
    assert ours.result["diverged"] == [True, True]
    assert ours.plan.iterations == 120


def test_a_ramp_beyond_all_reason_ends_early(range_test: Record) -> None:
    ours = range_test(range={"start": 1e-2, "end": 1e6, "iterations": 200})
    assert len(ours.column("loss")) < 200
    json.dumps(ours.result, allow_nan=False)


def seen_by_analysis(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every analysis is given, in order; the last one makes the result."""
    calls: list[dict[str, Any]] = []
    real = module.analyse

    def analyse(lr: F64, losses: list[F64], **others: Any) -> Analysis:
        calls.append({"lr": lr, "losses": losses, **others})
        return real(lr, losses, **others)

    monkeypatch.setattr(module, "analyse", analyse)
    return calls


@pytest.mark.parametrize(("optimizer", "family"), [("sgd", "sgd"), ("rmsprop", "adam")])
def test_the_analysis_gets_the_ramp_the_curves_and_the_family(
    range_test: Record, monkeypatch: pytest.MonkeyPatch, optimizer: str, family: str
) -> None:
    calls = seen_by_analysis(monkeypatch)
    ours = range_test(optimizer={"name": optimizer}, extensions=0, record=["accuracy"])
    (seen,) = calls
    assert seen["family"] == family
    assert seen["loss"] == "batch"
    assert len(seen["lr"]) == 60
    for name, given in (("loss", seen["losses"]), ("accuracy", seen["accuracies"])):
        assert [each.tolist() for each in given] == [
            ours.column(name, repeat=each).tolist() for each in range(2)
        ]
    assert {"status", "suggestion", "iterations", "seconds"} <= ours.result.keys()
    assert ours.result["accuracy"].keys() >= {"base_lr", "max_lr"}
    assert ours.result["checks"] is ours.result["agreement"] is None


def test_a_ramp_may_be_given_in_epochs(range_test: Record) -> None:
    ours = range_test(
        range={"start": 1e-4, "end": 0.1, "iterations": {"epochs": 2}}, repeats=1, extensions=0
    )
    assert ours.plan.iterations == len(ours.column("loss")) == 88
    assert ours.column("lr")[-1] == pytest.approx(0.1)


# Extension


def test_a_ramp_without_an_edge_goes_on_and_the_next_repeats_with_it(range_test: Record) -> None:
    plain = range_test(range=SHORT, extensions=0)
    assert (plain.result["status"], plain.result["suggestion"]) == ("no_edge_in_range", None)
    assert plain.result["advice"].startswith("Raise the end")
    ours = range_test(range=SHORT)
    assert ours.result["status"] == "ok"
    assert ours.result["advice"] is None
    extended = ours.result["range"]["extended"]
    rates = Ramp.model_validate(SHORT).rates(extended=extended)
    assert extended in {1, 2}
    assert ours.result["range"] == {
        "start": 1e-4,
        "end": rates[-1],
        "iterations": rates.size,
        "extended": extended,
    }
    for each in range(2):
        lr, loss = ours.column("lr", repeat=each), ours.column("loss", repeat=each)
        assert lr.tobytes() == rates[: lr.size].tobytes()
        assert loss[:60].tobytes() == plain.column("loss", repeat=each).tobytes()
    totals = [plan.iterations for plan in ours.plans]
    assert totals[0] == 120
    assert totals[-1] == 2 * rates.size
    assert len(totals) == 1 + extended


def test_a_ramp_is_extended_twice_at_most_in_a_job(range_test: Record) -> None:
    flat = {"start": 1e-6, "end": 1e-4, "iterations": 400}
    ours = range_test(range=flat, optimizer={"name": "adam"}, repeats=3)
    assert ours.result["range"]["extended"] == 2
    longest = Ramp.model_validate(flat).rates(extended=2).size
    assert [plan.iterations for plan in ours.plans] == [1200, 1797, 2394]
    assert longest == 798
    once = range_test(range=flat, optimizer={"name": "adam"}, repeats=1, extensions=1)
    assert once.result["range"]["extended"] == 1


def test_a_later_repeat_may_be_the_one_that_goes_on(
    range_test: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False, True, False])
    monkeypatch.setattr(module, "_is_open", lambda *_: next(asked))
    ours = range_test(range=SHORT, repeats=2)
    assert [len(ours.column("loss", repeat=each)) for each in range(2)] == [60, 79]
    assert [plan.iterations for plan in ours.plans] == [120, 139]
    assert ours.result["range"]["extended"] == 1


def test_no_rate_is_above_the_highest_there_may_be(range_test: Record) -> None:
    job = {"optimizer": {"name": "sgd"}, "lr_groups": {"multipliers": {"*": 1e-7}}}
    ours = range_test(range={"start": 1e3, "end": MAX_RATE, "iterations": 60}, **job)
    assert ours.result["status"] == "no_edge_in_range"
    assert ours.result["range"]["extended"] == 0
    assert len(ours.plans) == 1


# What is read


def test_the_probe_loss_belongs_to_the_rate_of_its_update(
    range_test: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = seen_by_analysis(monkeypatch)
    ours = range_test(loss="probe", extensions=0)
    assert calls[-1]["loss"] == "probe"
    assert calls[-1]["lr"].tobytes() == Ramp(start=1e-4, iterations=60).rates().tobytes()
    assert calls[-1]["losses"][0].tolist() == ours.column("probe_loss").tolist()
    plain = range_test(extensions=0)
    assert "probe_loss" not in plain.blocks[0].columns
    assert plain.column("loss").tobytes() == ours.column("loss").tobytes()


@pytest.mark.parametrize(
    ("iterations", "evaluate", "every"),
    [(60, None, 1), (250, None, 2), (60, {"every": {"iterations": 7}}, 7)],
)
def test_the_validation_loss_belongs_to_the_rate_of_the_last_update(
    range_test: Record,
    monkeypatch: pytest.MonkeyPatch,
    iterations: int,
    evaluate: dict[str, Any] | None,
    every: int,
) -> None:
    calls = seen_by_analysis(monkeypatch)
    ramp = {"start": 1e-4, "end": 0.5, "iterations": iterations}
    ours = range_test(range=ramp, loss="validation", evaluate=evaluate, extensions=0)
    assert calls[-1]["loss"] == "validation"
    for each in range(2):
        made = ours.column("iteration", repeat=each)
        assert made.tolist() == list(range(every, iterations + 1, every))
        assert calls[-1]["losses"][each].tolist() == ours.column("val_loss", repeat=each).tolist()
        assert calls[-1]["accuracies"][each].tolist() == (
            ours.column("val_accuracy", repeat=each).tolist()
        )
        assert calls[-1]["lr"].tolist() == ours.column("lr", repeat=each)[made - 1].tolist()


def test_evaluations_leave_no_trace_and_may_be_had_with_any_loss(range_test: Record) -> None:
    plain = range_test(extensions=0)
    watched = range_test(extensions=0, evaluate={"every": {"iterations": 10}})
    assert watched.column("iteration").tolist()[:3] == [10, 20, 30]
    assert plain.column("loss").tobytes() == watched.column("loss").tobytes()
    for name in ("status", "suggestion", "landmarks", "accuracy"):
        assert plain.result[name] == watched.result[name]


def test_losses_that_are_read_in_other_ways_find_about_the_same_edge(range_test: Record) -> None:
    job = {"range": {"start": 1e-5, "end": 10.0, "iterations": 240}}
    edges = [
        range_test(**job, loss=loss).result["landmarks"]["lr_edge"]
        for loss in ("batch", "probe", "validation")
    ]
    assert np.ptp(np.log10(edges)) < 0.3


def test_a_linear_ramp_finds_about_the_same_edge(range_test: Record) -> None:
    job = {"record": ["accuracy"], "repeats": 3}
    exponential, linear = (
        range_test(range=ramp, **job).result
        for ramp in (
            {"start": 1e-5, "end": 10.0, "iterations": 240},
            {"start": 2e-3, "end": 2.0, "iterations": 240, "ramp": "linear"},
        )
    )
    for found in (exponential, linear):
        assert found["status"] == "ok"
        assert found["accuracy"]["base_lr"] < found["accuracy"]["max_lr"] <= 2
    ratio = linear["landmarks"]["lr_edge"] / exponential["landmarks"]["lr_edge"]
    assert abs(np.log10(ratio)) < 0.35
    ratio = linear["accuracy"]["lr_falls"] / exponential["accuracy"]["lr_falls"]
    assert abs(np.log10(ratio)) < 0.35


# Parameter groups


def test_groups_keep_their_ratios_all_the_way_up(
    range_test: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = step.set_lr

    def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
        real(optimizer, lr)
        seen.append([lr, *(group["lr"] for group in optimizer.param_groups)])

    monkeypatch.setattr(step, "set_lr", set_lr)
    ours = range_test(lr_groups={"layer_decay": 2.0}, repeats=1)
    rates = np.array(seen)[: len(ours.column("lr"))]
    assert rates[:, 0].tolist() == ours.column("lr").tolist()
    np.testing.assert_allclose(np.sort(rates[:, 1:] / rates[:, :1]), [[0.5, 1.0]] * len(rates))


def test_a_factor_moves_the_edge_by_itself(range_test: Record) -> None:
    ramp = {"start": 1e-4, "end": 100.0, "iterations": 180}
    plain = range_test(range=ramp).result
    slower = range_test(range=ramp, lr_groups={"multipliers": {"*": 0.1}}).result
    ratio = slower["landmarks"]["lr_edge"] / plain["landmarks"]["lr_edge"]
    assert ratio == pytest.approx(10, rel=0.3)


def test_a_ramp_that_ends_before_anything_happens_goes_on(range_test: Record) -> None:
    early = {"start": 1e-7, "end": 1e-3, "iterations": 100}
    ours = range_test(range=early, repeats=1)
    assert ours.result["range"]["extended"] == 2
    assert ours.result["range"]["end"] > 0.05
