"""A range test runs up its ramp from derived seeds and stops where divergence is confirmed."""

import json
from typing import Any

import numpy as np
import pytest

from schedules.ramp import Ramp
from schedules.values import F64
from tests.worker.engine.conftest import Record
from worker.engine import Pace
from worker.engine import range_test as module

PACES = [Pace(), Pace(first=0, longest=0), Pace(points=7)]
"""Blocks of all sizes."""


def test_each_repeat_is_a_fresh_run_up_the_ramp(range_test: Record) -> None:
    ours = range_test(range={"start": 1e-4, "end": 0.1, "iterations": 60}, repeats=3)
    assert ours.plan.iterations == 180
    assert ours.plan.schedule is None
    assert ours.result["iterations"] == 180
    ramp = Ramp(start=1e-4, end=0.1, iterations=60)
    first_losses = set()
    for repeat in range(3):
        expected = ramp.lr_at(np.arange(60.0))
        assert ours.column("lr", repeat=repeat).tobytes() == expected.tobytes()
        assert ours.column("loss", repeat=repeat)[0] == pytest.approx(np.log(10), rel=0.2)
        first_losses.add(ours.column("loss", repeat=repeat)[0].item())
    assert len(first_losses) == 3
    assert not any(block.series == "validation" for block in ours.blocks)


@pytest.mark.parametrize("pace", PACES)
def test_a_seed_means_the_same_repeats_however_they_are_cut(range_test: Record, pace: Pace) -> None:
    job = {"range": {"start": 1e-3, "end": 1e6, "iterations": 100}, "record": ["accuracy"]}
    first, second = range_test(**job), range_test(**job, pace=pace)
    for repeat in range(2):
        for name in ("loss", "lr", "accuracy"):
            ours, theirs = (each.column(name, repeat=repeat) for each in (first, second))
            assert ours.tobytes() == theirs.tobytes()
    del first.result["seconds"], second.result["seconds"]
    assert first.result == second.result


@pytest.mark.parametrize("pace", PACES)
def test_a_repeat_stops_exactly_where_divergence_is_confirmed(
    range_test: Record, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divergence(losses: F64, *, planned: int) -> int | None:
        assert planned == 60
        return 37 if len(losses) >= 37 else None

    monkeypatch.setattr(module, "divergence", divergence)
    ours = range_test(pace=pace)
    assert [len(ours.column("loss", repeat=repeat)) for repeat in range(2)] == [37, 37]
    assert len(ours.column("lr", repeat=1)) == 37
    assert ours.result["iterations"] == 74
    assert ours.plan.iterations == 120


def test_a_ramp_beyond_all_reason_ends_early(range_test: Record) -> None:
    ours = range_test(range={"start": 1e-2, "end": 1e6, "iterations": 200})
    assert len(ours.column("loss")) < 200
    json.dumps(ours.result, allow_nan=False)


@pytest.mark.parametrize(("optimizer", "family"), [("sgd", "sgd"), ("rmsprop", "adam")])
def test_the_analysis_gets_the_ramp_the_curves_and_the_family(
    range_test: Record, monkeypatch: pytest.MonkeyPatch, optimizer: str, family: str
) -> None:
    seen: dict[str, Any] = {}
    real = module.analyse

    def analyse(lr: F64, losses: list[F64], *, family: str) -> object:
        seen.update(lr=lr, losses=losses, family=family)
        return real(lr, losses, family=family)

    monkeypatch.setattr(module, "analyse", analyse)
    ours = range_test(optimizer={"name": optimizer})
    assert seen["family"] == family
    assert len(seen["lr"]) == 60
    assert [each.tolist() for each in seen["losses"]] == [
        ours.column("loss", repeat=repeat).tolist() for repeat in range(2)
    ]
    assert {"status", "suggestion", "iterations", "seconds"} <= ours.result.keys()


def test_a_ramp_may_be_given_in_epochs(range_test: Record) -> None:
    ours = range_test(range={"start": 1e-4, "end": 0.1, "iterations": {"epochs": 2}}, repeats=1)
    assert ours.plan.iterations == len(ours.column("loss")) == 88
    assert ours.column("lr")[-1] == pytest.approx(0.1)
