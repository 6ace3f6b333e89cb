"""A job that goes on from a checkpoint is, to the bit, the job that was never stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.engine.checkpoints import (
    AUTO,
    EVALUATED,
    MOMENTUM,
    PLATEAU,
    TEST,
    TINY,
    TRAININGS,
    assert_same,
    optimizer,
    told,
)
from tests.worker.engine.conftest import CPU
from tests.worker.engine.test_streams import SHAPE, Line, MeasuredLine, Pixels, readers
from worker.engine import Pace, data
from worker.engine.device import no_compiler
from worker.engine.sources import ByIndex, OneByOne, Ready

STOPS = {"auto, in its training": [90, 170]}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_goes_on_as_if_it_had_never_stopped(name: str) -> None:
    job = TINY | TRAININGS[name]
    whole = told(job)
    stops = STOPS.get(name, [int(0.3 * job["length"]["iterations"]), 45])
    parts = told(job, stops=[each for each in stops if each < whole.plans[-1].iterations])
    assert len(parts.plans) > len(whole.plans)
    assert_same(parts, whole)


def test_it_may_be_stopped_again_and_again() -> None:
    job = TINY | MOMENTUM | EVALUATED | {"length": {"iterations": 100}, "record": ["accuracy"]}
    parts = told(job, stops=range(3, 100, 10))
    assert [each.start for each in parts.plans[1:]] == [
        each.iteration for each in parts.checkpoints[:-1]
    ]
    assert len(parts.plans) == 11
    assert_same(parts, told(job))


def test_a_stop_after_every_update_changes_nothing_either() -> None:
    job = TINY | optimizer("adam") | {"schedule": PLATEAU, "length": {"iterations": 25}} | EVALUATED
    assert_same(told(job, stops=range(1, 25), pace=Pace(points=1)), told(job))


@pytest.mark.skipif(no_compiler(CPU) is not None, reason="needs a C++ compiler")
def test_a_compiled_training_goes_on() -> None:
    job = TINY | {"compile": True, "length": {"iterations": 20}}
    assert_same(told(job, stops=[9]), told(job))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("iterable", [False, True], ids=["by index", "one by one"])
def test_streamed_data_go_on(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workers: int, iterable: bool
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # whence processes that read import them
    data.load.cache_clear()
    request.addfinalizer(data.load.cache_clear)
    train = OneByOne(MeasuredLine(200), SHAPE) if iterable else ByIndex(Pixels(), SHAPE)
    validation = OneByOne(Line(50), SHAPE, examples=40) if iterable else ByIndex(Pixels(50), SHAPE)
    monkeypatch.setattr(data, "_read", lambda *_: Ready(train, validation, 10))
    job = TINY | EVALUATED | {"loader": {"workers": workers}, "length": {"iterations": 30}}
    assert_same(told(job, stops=[11]), told(job))
    assert not readers()


# Range tests

LOW = {"start": 1e-4, "end": 0.1, "iterations": 60}
"""A ramp that has to be made longer."""

RANGE_TESTS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "in the first repeat, after it, in the second": ({}, [20, 60, 70]),
    "extended": ({"range": LOW}, [30, 60, 66, 75, 100]),
    "by validation loss": ({"loss": "validation"} | EVALUATED, [24, 80]),
    "by probe loss": ({"loss": "probe", "record": ["accuracy"]}, [24, 80]),
    "checks": ({"checks": ["curvature", "line_search"]}, [3, 24, 50, 80]),
    "dropout, adam": (TRAININGS["dropout"] | optimizer("adam") | EVALUATED, [24, 80]),
}


@pytest.mark.parametrize("name", RANGE_TESTS)
def test_a_range_test_goes_on_as_if_it_had_never_stopped(name: str) -> None:
    changes, stops = RANGE_TESTS[name]
    whole, parts = told(TEST | changes), told(TEST | changes, stops=stops)
    assert len(parts.checkpoints) == len(stops)
    assert not whole.checkpoints
    assert_same(parts, whole)


def test_every_block_of_a_range_test_may_be_the_last_of_an_attempt() -> None:
    job = TEST | {"range": LOW} | EVALUATED
    whole = told(job)
    parts = told(job, stops=range(1, whole.result["iterations"], 7))
    assert len(parts.plans) > 20
    assert_same(parts, whole)


def test_the_range_test_of_auto_goes_on_too() -> None:
    job = TINY | MOMENTUM | {"schedule": AUTO} | EVALUATED
    whole = told(job)
    tested = whole.result["range_test"]["iterations"]
    parts = told(job, stops=[20, 70, tested, tested + 20])
    begun = sorted({each.start for each in parts.plans})
    assert begun == [0, *(each.iteration for each in parts.checkpoints[:-1])]
    assert parts.checkpoints[-1].iteration == whole.plans[-1].iterations
    assert_same(parts, whole)


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("graphs", [True, False], ids=["replayed", "kernel by kernel"])
@pytest.mark.parametrize(
    "name", ["momentum", "amsgrad", "dropout", "batch norm", "plateau by val_loss"]
)
def test_a_gpu_goes_on_as_if_it_had_never_stopped(name: str, graphs: bool) -> None:
    job = TINY | TRAININGS[name] | {"cuda_graphs": graphs}
    cuda = torch.device("cuda")
    whole = told(job, device=cuda)
    assert whole.plans[0].notes["cuda_graphs"] is graphs
    assert_same(told(job, stops=[5, 14], device=cuda), whole)
