"""Each way of making an update computes what a plain loop computes."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spec.compute import Clipping
from spec.jobs import JOB_SPEC
from tests.worker.engine.conftest import CPU, TRAINING, Record
from tests.worker.engine.plain import plain_loop
from worker.engine import EngineError, device, prepare, recipe
from worker.engine.device import EXACT, Numerics, compiled, no_compiler
from worker.engine.fused import updater
from worker.engine.replay import Replayed, obstacles
from worker.engine.splits import Split
from worker.engine.step import Step

Make = Callable[[Any], torch.optim.Optimizer]

FUSED: list[Make] = [
    lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1, fused=True),
    lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.9), fused=True),
]


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3))


def batches(number: int) -> list[Split]:
    random = torch.Generator().manual_seed(2)
    return [
        Split(
            torch.randn(8, 1, 3, 4, generator=random),
            torch.randint(3, (8,), generator=random),
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("make", FUSED)
def test_the_fast_update_is_the_optimizers_own_to_the_bit(make: Make) -> None:
    ours, theirs = net(), net()
    ours_optimizer, theirs_optimizer = make(ours.parameters()), make(theirs.parameters())
    update = updater(ours_optimizer)
    for i, batch in enumerate(batches(12)):
        for model, optimizer, move in (
            (ours, ours_optimizer, update),
            (theirs, theirs_optimizer, theirs_optimizer.step),
        ):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
            move()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(ours_optimizer.state.values(), theirs_optimizer.state.values(), strict=True):
        assert a.keys() == b.keys()
        assert all(
            x is y is None or torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True)
        )


def test_a_parameter_may_have_no_gradient_for_a_while() -> None:
    ours, theirs = net(), net()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.1, fused=True) for m in (ours, theirs)]
    moves = updater(optimizers[0]), optimizers[1].step
    for i, batch in enumerate(batches(6)):
        for model, optimizer, move in zip((ours, theirs), optimizers, moves, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
            if i in {0, 3}:
                model[1].bias.grad = None
            move()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", FUSED)
def test_a_replayed_update_is_the_same(make: Make) -> None:
    """What is recorded is replayed here by making it again, as a GPU's graph does."""
    losses = []
    for replayed in (False, True):
        model = net()
        optimizer = make(model.parameters())
        optimizer.param_groups[0]["factor"] = 1.0
        step: Step | Replayed = Step(model, optimizer, Numerics(CPU, "fp32", EXACT, threads=1))
        if replayed:
            step = Replayed(step, optimizer, lambda update: update)
        # powers of two are the same in single precision
        losses.append([float(step(b, 2.0 ** -(i % 5 + 3)).loss) for i, b in enumerate(batches(12))])
    assert losses[0] == losses[1]


def test_what_cannot_be_replayed_is_said() -> None:
    def why(*, fused: bool = True, **changes: Any) -> list[str]:
        return list(obstacles(JOB_SPEC.validate_python(TRAINING | changes), fused=fused))

    assert why() == []
    assert why(optimizer={"name": "rmsprop"}, fused=False) == ["rmsprop has no fused kernel"]
    assert why(schedule={"policy": "hypergradient", "lr": 0.1}) == ["the learning rate is learned"]
    cycled = {"policy": "one_cycle", "max_lr": 0.1, "max_momentum": 0.95, "base_momentum": 0.85}
    assert why(schedule=cycled) == ["the momentum is cycled"]


def test_where_recording_fails_the_job_runs_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, masks: torch.Generator) -> None:
            pass

        def __call__(self, _update: object) -> Any:
            raise RuntimeError("not permitted when stream is capturing")

    real = Numerics.choose
    monkeypatch.setattr(
        Numerics, "choose", lambda *args, **kwargs: replace(real(*args, **kwargs), replay=True)
    )
    monkeypatch.setattr(recipe, "Graph", Broken)
    made = prepare.prepared(JOB_SPEC.validate_python(TRAINING), CPU, tmp_path)
    assert not made.numerics.replay
    (warning,) = made.warnings
    assert warning.startswith("updates are launched kernel by kernel, without CUDA graphs: ")
    assert warning.endswith("failed with RuntimeError: not permitted when stream is capturing")


def test_parts_of_a_batch_add_up_to_it(train: Record) -> None:
    whole, parts = train(), train(accumulation=4)
    np.testing.assert_allclose(parts.column("loss"), whole.column("loss"), rtol=1e-5)
    assert parts.column("loss").tobytes() != whole.column("loss").tobytes()


def test_parts_are_equal(train: Record) -> None:
    with pytest.raises(EngineError, match="/accumulation: batch_size 32 cannot be split into 5"):
        train(accumulation=5)


def test_a_batch_in_parts_takes_less_memory(train: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"name": "mlp", "params": {"hidden": [256]}}
    big = {"data": {"name": "synthetic", "params": {"examples": 8000}}, "batch_size": 6000}
    monkeypatch.setattr("worker.engine.memory.available", lambda _: 6_000_000)
    with pytest.raises(EngineError, match="at batch size 6000"):
        train(model=model, **big)
    train(model=model, **big, accumulation=6)


@pytest.mark.parametrize(
    ("clipping", "clip"),
    [
        (Clipping(norm=0.5), lambda p: nn.utils.clip_grad_norm_(p, 0.5)),
        (Clipping(value=0.01), lambda p: nn.utils.clip_grad_value_(p, 0.01)),
    ],
)
def test_gradients_are_clipped_as_torch_does(
    train: Record, clipping: Clipping, clip: Callable[[Any], object]
) -> None:
    class Clipped(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            clip(self.param_groups[0]["params"])
            return super().step(closure)

    found = train(clipping=clipping.model_dump(), record=["grad_norm"], seed=7)
    losses, _ = plain_loop(
        lambda model: Clipped(model.parameters(), lr=0.1, fused=True), lr=np.full(50, 0.1), seed=7
    )
    assert found.column("loss").tobytes() == losses.tobytes()
    assert found.column("grad_norm").max() > 0.5  # before clipping
    assert found.column("loss").tobytes() != train(seed=7).column("loss").tobytes()


def test_channels_last_changes_rounding_only(train: Record) -> None:
    model = {"name": "lenet", "params": {"channels": [8, 8], "hidden": 16}}
    usual, last = (train(model=model, channels_last=each).column("loss") for each in (False, True))
    np.testing.assert_allclose(last, usual, rtol=1e-4)


def test_a_small_job_computes_with_one_thread_and_a_large_one_with_all(
    train: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    seen = []
    real = Step.make
    monkeypatch.setattr(
        Step, "make", lambda *args: (seen.append(torch.get_num_threads()), real(*args))[1]
    )
    assert train(length={"iterations": 1}).plan.notes["threads"] == 1
    large = {"model": {"name": "mlp", "params": {"hidden": [512]}}, "batch_size": 512}
    assert train(length={"iterations": 1}, **large).plan.notes["threads"] == 2
    assert train(length={"iterations": 1}, threads=2).plan.notes["threads"] == 2
    assert seen == [1, 2, 2]
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(no_compiler(CPU) is not None, reason="needs a C++ compiler")
def test_compiled_a_model_computes_the_same(train: Record) -> None:
    usual, compiled = train(), train(compile=True)
    np.testing.assert_allclose(compiled.column("loss"), usual.column("loss"), rtol=1e-4)
    assert compiled.result["val_accuracy"] == usual.result["val_accuracy"]
    assert not compiled.plan.warnings


def test_without_a_compiler_the_job_runs_and_says_so(
    train: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (prepare, device):
        monkeypatch.setattr(module, "no_compiler", lambda _: "there is no C++ compiler")
    found = train(compile=True)
    assert found.column("loss").tobytes() == train().column("loss").tobytes()
    assert found.plan.warnings == (
        "the model is not compiled: on this worker there is no C++ compiler",
    )


def test_any_number_of_jobs_can_be_compiled_in_a_process() -> None:
    programs = []

    def backend(graph: Any, _: object) -> Any:
        programs.append(graph)
        return graph.forward

    def adding(width: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return compiled(lambda x: x + width, backend)

    for width in range(12):
        assert adding(width)(torch.zeros(width + 2)).tolist() == [width] * (width + 2)
    assert len(programs) == 12


def test_there_are_no_more_threads_than_cores(train: Record) -> None:
    found = train(threads=1024, length={"iterations": 1}).plan
    assert found.notes["threads"] == len(os.sched_getaffinity(0))
    assert found.warnings == (
        f"threads are {found.notes['threads']}, as many as this worker has cores",
    )


def test_a_check_of_what_clipping_changes_is_refused(range_test: Record) -> None:
    with pytest.raises(EngineError, match="/checks: say how far"):
        range_test(checks=["line_search"], clipping={"norm": 1.0})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_replays_what_a_gpu_does_kernel_by_kernel(train: Record) -> None:
    cuda = torch.device("cuda")
    plain = train(device=cuda, cuda_graphs=False)
    graph = train(device=cuda)
    assert graph.plan.notes["cuda_graphs"] is True
    np.testing.assert_allclose(graph.column("loss"), plain.column("loss"), rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_dropout_draws_anew_in_each_replay(train: Record) -> None:
    model = {"name": "mlp", "params": {"hidden": [32], "dropout": 0.5}}
    cuda = torch.device("cuda")
    losses = [
        train(device=cuda, model=model, cuda_graphs=on).column("loss") for on in (True, False)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
