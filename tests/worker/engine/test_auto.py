"""Policy auto: one job that tests the range, takes its rates from it, and trains."""

import json
from typing import Any

import pytest

from schedules import Auto, OneCycle
from spec.states import Reason
from tests.worker.engine.conftest import Record, Start
from worker.engine import Block, EngineError, Pace, Plan

RANGE = {"start": 1e-4, "end": 100.0, "iterations": 100}
AUTO = {"policy": "auto", "range": RANGE, "repeats": 2}
SGD = {"name": "sgd", "params": {"momentum": 0.9}}
JOB: dict[str, Any] = {"schedule": AUTO, "optimizer": SGD, "length": {"iterations": 60}}


def test_the_training_takes_what_its_range_test_suggests(train: Record, range_test: Record) -> None:
    ours = train(**JOB)
    apart = range_test(optimizer=SGD, range=RANGE, repeats=2)
    del apart.result["seconds"]
    assert ours.result["range_test"] == apart.result
    for repeat in range(2):
        for name in ("loss", "lr"):
            expected = apart.column(name, repeat=repeat)
            assert ours.column(f"range_{name}", repeat=repeat).tobytes() == expected.tobytes()
    max_lr = apart.result["suggestion"]["max_lr"]
    assert ours.plan.schedule == OneCycle(max_lr=max_lr)
    plain = train(**JOB | {"schedule": {"policy": "one_cycle", "max_lr": max_lr}})
    for name in ("loss", "lr", "momentum", "val_loss"):
        assert ours.column(name).tobytes() == plain.column(name).tobytes()
    for each in (ours, plain):
        del each.result["seconds"]
    assert ours.result == {**plain.result, "range_test": apart.result}
    json.dumps(ours.result, allow_nan=False)


def test_plans_count_both_parts(train: Record) -> None:
    ours = train(**JOB)
    tested = ours.result["range_test"]["iterations"]
    first, *_, last = ours.plans
    assert first.iterations == 2 * 100 + 60
    assert isinstance(first.schedule, Auto)
    assert last.iterations == tested + 60
    rows = sum(len(each) for each in ours.blocks if each.series != "validation")
    assert rows == last.iterations


def test_what_is_recorded_is_recorded_of_both(train: Record) -> None:
    ours = train(**JOB, record=["accuracy", "probe_loss"], lr_groups={"layer_decay": 2.0})
    for name in ("accuracy", "probe_loss"):
        assert len(ours.column(f"range_{name}", repeat=1)) == len(ours.column("range_lr", repeat=1))
        assert len(ours.column(name)) == 60


def test_blocks_may_be_cut_anywhere(train: Record) -> None:
    first, second = train(**JOB), train(**JOB, pace=Pace(points=7))
    for name in ("range_loss", "loss", "lr"):
        assert first.column(name).tobytes() == second.column(name).tobytes()


def test_epochs_and_cycles_are_resolved_in_both(train: Record) -> None:
    inner = {
        "policy": "triangular",
        "base_lr": {"range_test": "auto"},
        "max_lr": {"range_test": "auto"},
        "step_size": {"epochs": 0.25},
    }
    schedule = AUTO | {"schedule": inner, "range": RANGE | {"iterations": {"epochs": 2}}}
    ours = train(**JOB | {"schedule": schedule, "length": {"cycles": 3}}, snapshots="cycle_end")
    assert ours.plans[0].iterations == 2 * 88 + 66
    assert ours.plans[0].schedule.schedule.step_size == 11
    assert ours.plans[0].schedule.range.iterations == 88
    assert ours.result["iterations"] == 66
    assert [each.iteration for each in ours.snapshots] == [22, 44, 66]
    suggestion = ours.result["range_test"]["suggestion"]
    assert ours.plan.schedule.base_lr == suggestion["base_lr"]


def test_without_a_suggestion_the_job_fails_with_its_series_kept(start: Start) -> None:
    taken = []
    with pytest.raises(EngineError, match=r"status '\w+' and suggests no") as failed:
        taken.extend(start(JOB_WITHOUT, length={"iterations": 60}))
    assert failed.value.reason is Reason.INVALID
    blocks = [each for each in taken if not isinstance(each, Plan)]
    assert all(isinstance(each, Block) and each.series == "range_test" for each in blocks)
    assert len(blocks) > 0


def test_what_the_training_cannot_be_is_said_before_the_range_test(start: Start) -> None:
    events = start(
        {**JOB_WITHOUT, "schedule": AUTO | {"schedule": SHORT}, "snapshots": "cycle_end"},
        length={"iterations": 10},
    )
    with pytest.raises(EngineError, match="/snapshots: no cycle"):
        next(events)
    few = AUTO | {"range": {"iterations": {"epochs": 0.01}}}
    with pytest.raises(EngineError, match="/schedule/range/iterations"):
        next(start({**JOB_WITHOUT, "schedule": few}, length={"iterations": 10}))


def test_a_plateau_inside_needs_its_evaluations(train: Record) -> None:
    inner = {"policy": "plateau", "lr": {"range_test": "auto"}, "patience": 1}
    with pytest.raises(EngineError, match="/evaluate: "):
        train(**JOB | {"schedule": AUTO | {"schedule": inner}})
    ours = train(
        **JOB | {"schedule": AUTO | {"schedule": inner}}, evaluate={"every": {"iterations": 10}}
    )
    lr = ours.result["range_test"]["suggestion"]["fixed_lr"]
    assert ours.column("lr")[:10].tolist() == [lr] * 10


SHORT = {
    "policy": "triangular",
    "base_lr": 0.001,
    "max_lr": {"range_test": "auto"},
    "step_size": 100,
}
JOB_WITHOUT = {
    "kind": "training",
    "model": {"name": "mlp", "params": {"hidden": [8]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
    "schedule": AUTO | {"range": {"start": 1e-9, "end": 1e-8, "iterations": 60}},
}
