"""Streamed data give the numbers of resident data to the bit, and their processes never stay."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from spec.components import ArraysParams, DigitsParams
from spec.compute import Loader
from spec.jobs import JOB_SPEC
from spec.states import Reason
from tests.worker.engine.conftest import CPU, TRAINING, Record, Recorded, Start
from worker.engine import Block, EngineError, Finished, data, digits, memory
from worker.engine.data import load, open_dataset
from worker.engine.population.stack import Stack
from worker.engine.prepare import prepared
from worker.engine.sources import ByIndex, OneByOne, Ready
from worker.engine.splits import Split
from worker.engine.streams import Stream, Streamed, shuffled

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    """The digits in files: what a job's `data` says of them."""
    folder = tmp_path / "arrays" / "digits"
    folder.mkdir(parents=True)
    raw = digits.read()
    for name, split in (("train", raw.train), ("validation", raw.validation)):
        np.save(folder / f"{name}_inputs.npy", split.inputs.numpy().astype(np.uint8))
        np.save(folder / f"{name}_labels.npy", split.labels.numpy())
    return {"name": "arrays", "params": {"folder": "digits"}}


@dataclass
class Pixels(Dataset[tuple[Tensor, int]]):
    """A label, and an input that shows it with noise; one may be broken, and one deadly."""

    examples: int = 200
    broken: int | None = None
    deadly: int | None = None

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self.broken:
            raise LookupError(f"example {index} is gone")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002 - as datasets do
        return torch.full(SHAPE, float(index % 10)) + noise, index % 10


class Line(IterableDataset[tuple[Tensor, int]]):
    """Such examples one by one, in each epoch without one more of the first."""

    def __init__(self, examples: int) -> None:
        self._pixels = Pixels(examples)
        self._first = 0

    def set_epoch(self, epoch: int) -> None:
        self._first = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self._pixels[i] for i in range(self._first, len(self._pixels)))


class MeasuredLine(Line):
    """One that has a length."""

    def __len__(self) -> int:
        return len(self._pixels)


Serve = Callable[[ByIndex | OneByOne, ByIndex | OneByOne], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Puts datasets of torch's kind in the place of the built-in ones."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # whence processes that read import them
    return lambda train, validation: monkeypatch.setattr(
        data, "_read", lambda *_: Ready(train, validation, 10)
    )


def readers() -> list[psutil.Process]:
    """The processes that read for the job of this one: its server's children."""
    below = psutil.Process().children(recursive=True)
    return [each for each in below if each.ppid() != os.getpid() and _is_forked(each)]


def _is_forked(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "multiprocessing.forkserver" in " ".join(process.cmdline())
    return False


def same(a: Recorded, b: Recorded) -> bool:
    """Whether two jobs recorded the same and came to the same, to the bit."""
    names = {name for block in a.blocks for name in block.columns}
    seconds = {"seconds": None}
    return a.result | seconds == b.result | seconds and all(
        a.column(name).tobytes() == b.column(name).tobytes() for name in names
    )


def test_a_training_is_the_same_to_the_bit(train: Record, arrays: dict[str, Any]) -> None:
    job = {
        "data": arrays,
        "record": ["accuracy", "probe_loss"],
        "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 15},
        "snapshots": "cycle_end",
        "evaluate": {"every": {"iterations": 20}},
        "length": {"iterations": 100},
    }
    resident = train(**job)
    assert resident.plan.notes["data"] == "resident"
    assert resident.result["ensemble"]["members"] == 3
    for loader in ({"workers": 0}, {"workers": 2, "prefetch": 3}):
        streamed = train(**job, loader=loader)
        assert streamed.plan.notes["data"] == "streamed"
        assert same(resident, streamed)
        assert not readers()


def test_a_range_test_is_the_same_to_the_bit(range_test: Record, arrays: dict[str, Any]) -> None:
    job = {"data": arrays, "checks": ["curvature", "line_search"], "loss": "validation"}
    assert same(range_test(**job), range_test(**job, loader={"workers": 0}))


def test_batch_norm_settles_on_the_same_batches(train: Record, arrays: dict[str, Any]) -> None:
    job = {
        "data": arrays,
        "model": {"name": "resnet", "params": {"width": 2}},
        "optimizer": {"name": "sgd_schedulefree"},
        "length": {"iterations": 5},
    }
    assert same(train(**job), train(**job, loader={"workers": 0}))


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_what_is_in_memory_can_be_streamed(train: Record, name: str) -> None:
    job = {"data": {"name": name}}
    assert same(train(**job), train(**job, loader={"workers": 2}))


def test_data_that_takes_half_of_the_memory_is_streamed(
    train: Record, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = (1437 + 360) * (64 * 4 + 8)
    monkeypatch.setattr(memory, "available", lambda _: 2 * needed)
    assert train(data=arrays).plan.notes["data"] == "resident"
    load.cache_clear()
    monkeypatch.setattr(memory, "available", lambda _: 2 * needed - 1)
    assert train(data=arrays).plan.notes["data"] == "streamed"
    assert not readers()


def test_large_batches_come_through_shared_memory(tmp_path: Path) -> None:
    folder = tmp_path / "arrays" / "colours"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(5, 3, (250, 3, 32, 32))
    for part in ("train", "validation"):
        np.save(folder / f"{part}_inputs.npy", noise)
        np.save(folder / f"{part}_labels.npy", np.arange(250) % 7)
    sets = [
        open_dataset(ArraysParams(folder="colours"), device=CPU, data_dir=tmp_path, loader=loader)
        for loader in (None, Loader(workers=1))
    ]
    assert isinstance(sets[0].train, Split)
    assert isinstance(sets[1], Streamed)
    for ours, other in zip(*(each.train.in_order(100) for each in sets), strict=True):
        assert torch.equal(ours.inputs, other.inputs)
        assert torch.equal(ours.labels, other.labels)
    sets[1].close()
    assert not readers()


@pytest.mark.parametrize("done", [0, 1, 43, 44, 100])
def test_batches_go_on_where_a_run_stopped(done: int) -> None:
    def order() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    resident = open_dataset(DigitsParams(), device=CPU, data_dir=Path(), loader=None).train
    before = shuffled(resident, 32, order())
    for _ in range(done):
        before.next()
    stream = open_dataset(DigitsParams(), device=CPU, data_dir=Path(), loader=Loader()).train
    after = [shuffled(split, 32, order(), done=done) for split in (resident, stream)]
    for _ in range(50):
        expected = before.next()
        assert all(torch.equal(each.next().inputs, expected.inputs) for each in after)


def drawn() -> tuple[object, ...]:
    """How far the global generators are."""
    numpy = np.random.get_state()[1].tolist()  # noqa: NPY002 - of which there is one
    return random.getstate(), numpy, torch.get_rng_state().tolist()


def test_what_an_example_draws_follows_the_seed(train: Record, serve: Serve) -> None:
    serve(ByIndex(Pixels(), SHAPE), ByIndex(Pixels(50), SHAPE))
    before = drawn()
    own, other = (train(loader={"workers": each}) for each in (0, 2))
    assert drawn() == before
    assert same(own, other)
    losses = train(loader={"workers": 0}, seed=1).column("loss")
    assert losses.tobytes() != own.column("loss").tobytes()
    stream = Stream(ByIndex(Pixels(32), SHAPE), None, Loader(workers=0), CPU, classes=10)
    epochs = [each.inputs.sum() for each in islice(stream.shuffled(32, torch.Generator()), 3)]
    assert len(set(epochs)) == 3


def test_one_by_one_in_an_order_of_their_own(train: Record, serve: Serve) -> None:
    serve(OneByOne(MeasuredLine(200), SHAPE), OneByOne(Line(90), SHAPE, examples=70))
    own, other = (train(loader={"workers": each}) for each in (0, 2))
    assert own.plan.iterations_per_epoch == 6
    assert same(own, other)

    stream = Stream(OneByOne(MeasuredLine(70), SHAPE), None, Loader(workers=0), CPU, classes=10)
    seen = [each.labels.tolist() for each in islice(stream.shuffled(32, torch.Generator()), 4)]
    expected = [range(32), range(32, 64), range(1, 33), range(33, 65)]  # the rest sits out
    assert seen == [[i % 10 for i in each] for each in expected]
    rest = stream.shuffled(32, torch.Generator(), done=3)
    assert next(rest).labels.tolist() == seen[3]
    assert [len(each) for each in stream.in_order(32)] == [32, 32, 6]


def test_an_epoch_must_be_known() -> None:
    with pytest.raises(EngineError, match=r"^/data: Line .* give it a length .*`examples`") as no:
        OneByOne(Line(10), SHAPE)
    assert no.value.reason is Reason.INVALID


def test_a_pass_without_a_batch_ends_the_job(train: Record, serve: Serve) -> None:
    serve(OneByOne(Line(20), SHAPE, examples=100), ByIndex(Pixels(), SHAPE))
    with pytest.raises(EngineError, match="less than one batch: 20 of 32"):
        train(loader={"workers": 0})


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_dataset_is_told_in_full(train: Record, serve: Serve, workers: int) -> None:
    serve(ByIndex(Pixels(broken=7), SHAPE), ByIndex(Pixels(), SHAPE))
    with pytest.raises(EngineError) as failed:
        train(loader={"workers": workers})
    assert failed.value.reason is Reason.CODE
    head, *trace = failed.value.detail.splitlines()
    assert head == "the data could not be read: LookupError: example 7 is gone"
    assert 'raise LookupError(f"example {index} is gone")' in [each.strip() for each in trace]
    assert not readers()


def test_examples_of_another_shape_are_told_of(train: Record, serve: Serve) -> None:
    serve(ByIndex(Pixels(), (1, 4, 4)), ByIndex(Pixels(), (1, 4, 4)))
    with pytest.raises(EngineError, match=r"of shape \(1, 8, 8\) instead of \(1, 4, 4\)"):
        train(loader={"workers": 0})


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_what_cannot_be_sent_to_a_process_is_told(train: Record, serve: Serve) -> None:
    class Local(Pixels):
        pass

    serve(ByIndex(Local(), SHAPE), ByIndex(Local(), SHAPE))
    with pytest.raises(
        EngineError, match=r"no processes .*/loader with 0 workers.*Local"
    ) as failed:
        train(loader={"workers": 1})
    assert failed.value.reason is Reason.CODE


def test_a_killed_reader_is_told(
    train: Record, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # how often DataLoader looks after its processes: 5 seconds
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))
    serve(ByIndex(Pixels(deadly=7), SHAPE), ByIndex(Pixels(), SHAPE))
    with pytest.raises(EngineError, match=r"process \d+, .* by SIGKILL, .* memory .*") as failed:
        train(loader={"workers": 2})
    assert failed.value.reason is Reason.CODE
    assert not readers()


def test_a_cancelled_job_leaves_no_process(start: Start, arrays: dict[str, Any]) -> None:
    job = {"data": arrays, "loader": {"workers": 2}, "length": {"iterations": 10**6}}
    events = start(TRAINING, **job, evaluate={"every": {"iterations": 10}})
    while not (isinstance(event := next(events), Block) and event.series == "validation"):
        assert not isinstance(event, Finished)
    assert len(readers()) == 4  # of each split
    events.close()
    assert not readers()


def test_a_signal_to_all_processes_of_a_worker_is_for_the_one_that_runs_the_job(
    start: Start, arrays: dict[str, Any]
) -> None:
    job = {"data": arrays, "loader": {"workers": 2}, "length": {"iterations": 300}}
    events = start(TRAINING, **job)
    # until each has read something: a process that has just been started heeds them
    next(each for each in events if isinstance(each, Block) and each.start + len(each) >= 4)
    for reader in readers():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            reader.send_signal(number)
    *_, last = events
    assert isinstance(last, Finished)
    assert not readers()


def test_a_label_beyond_the_classes_is_told(train: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    split = ByIndex(Pixels(), SHAPE)
    monkeypatch.setattr(data, "_read", lambda *_: Ready(split, split, 9))
    with pytest.raises(EngineError, match="a label 9, which is not one of 9 classes"):
        train(loader={"workers": 0})


NODE = """
import billiard
child = billiard.get_context("spawn").Process(target=exec, args=({program!r}, {{}}))
child.daemon = True
child.start()
child.join()
"""
CHILD = """
from pathlib import Path
import torch
from spec.jobs import JOB_SPEC
from worker.engine import Block, run
spec = JOB_SPEC.validate_python({spec!r})
for event in run(spec, device=torch.device("cpu"), data_dir=Path({data_dir!r})):
    if isinstance(event, Block):
        print(event.start, flush=True)
"""


def test_readers_start_in_celerys_processes_and_die_with_them(
    arrays: dict[str, Any], tmp_path: Path
) -> None:
    spec = TRAINING | {
        "data": arrays,
        "loader": {"workers": 2},
        "length": {"iterations": 10**9},
    }
    program = CHILD.format(spec=spec, data_dir=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", NODE.format(program=program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdout is not None
        assert node.stderr is not None
        if not node.stdout.readline():
            raise AssertionError(node.stderr.read())
        (child,) = (
            each
            for each in psutil.Process(node.pid).children()
            if "spawn_main" in " ".join(each.cmdline())
        )
        below = child.children(recursive=True)
        assert len([each for each in below if each.ppid() != child.pid]) == 2
        child.kill()
        _, alive = psutil.wait_procs(below, timeout=30)
        assert not alive
        node.wait(timeout=30)


def test_a_population_needs_its_data_on_the_device(arrays: dict[str, Any], tmp_path: Path) -> None:
    spec = JOB_SPEC.validate_python(TRAINING | {"data": arrays, "loader": {}})
    recipe = prepared(spec, CPU, tmp_path)
    with pytest.raises(EngineError, match=r"^/population: the data is streamed") as refused:
        Stack(recipe, [recipe.optimizer], [np.random.SeedSequence(0)])
    assert refused.value.reason is Reason.INVALID
