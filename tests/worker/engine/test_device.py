"""The numerical choices of a job hold while it runs, and leave nothing behind."""

from typing import Any

import pytest
import torch

from spec.compute import Precision
from tests import factories
from tests.worker.engine.conftest import Record, Start
from worker.engine.device import ONEDNN, Numerics, onednn_is_exact

CPU = torch.device("cpu")


def chosen(device: torch.device, precision: Precision, products: int, **fields: Any) -> Numerics:
    spec = factories.spec(precision=precision, **fields)
    return Numerics.choose(device, spec, products=products, operations=2 * products)


def state() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.deterministic,
        cudnn.benchmark,
        torch.initial_seed(),
        torch.random.get_rng_state().tolist(),
    )


def test_fp32_keeps_fp32s_accuracy_whatever_computes_it() -> None:
    numerics = chosen(CPU, "fp32", 1 << 30)
    a, b = torch.randn(128, 1024), torch.randn(1024, 256)
    exact = a.double() @ b.double()
    with numerics.applied():
        error = ((a @ b).double() - exact).norm() / exact.norm()
    assert error < 2e-6
    assert numerics.notes()["matmul"] == ("onednn" if onednn_is_exact() else "default")


def test_small_products_stay_with_the_default() -> None:
    assert chosen(CPU, "fp32", 1 << 10).notes()["matmul"] == "default"


def test_cuda_rounds_to_tf32_only_when_asked_to() -> None:
    cuda = torch.device("cuda")
    assert chosen(cuda, "fp32", 1 << 30).matmul == "highest"
    assert chosen(cuda, "bf16", 1 << 30).matmul == "highest"
    assert chosen(cuda, "tf32", 1 << 30).matmul == "high"


@pytest.mark.parametrize("end", ["finished", "closed", "failed"])
def test_torchs_global_state_is_put_back(start: Start, end: str) -> None:
    before = state()
    job = {
        "model": {"name": "mlp", "params": {"hidden": [64], "dropout": 0.5}},
        "data": {"name": "synthetic"},
        "kind": "training",
        "schedule": {"policy": "constant", "lr": 0.1},
        "length": {"iterations": 5},
        "batch_size": 2000,
        "optimizer": {"name": "sgd"},
        "precision": "tf32",
    }
    events = start(job)
    assert "threads" in next(events).notes
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic
    if end == "finished":
        assert len(list(events)) >= 3
    elif end == "closed":
        next(events)
        events.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
    assert state() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_starts_like_a_cpu_and_repeats_itself(train: Record) -> None:
    model = {"name": "lenet"}
    cpu, first, second = (
        train(model=model, device=torch.device(device)).column("loss")
        for device in ("cpu", "cuda", "cuda")
    )
    assert first.tobytes() == second.tobytes()
    assert first[:5] == pytest.approx(cpu[:5], rel=1e-4)


def test_the_choice_reaches_torch() -> None:
    torch.set_float32_matmul_precision("highest")
    with Numerics(CPU, "fp32", ONEDNN, threads=1).applied():
        assert torch.get_float32_matmul_precision() == ONEDNN
    assert torch.get_float32_matmul_precision() == "highest"


def test_bf16_rounds_and_fp32_does_not(train: Record) -> None:
    losses = {
        precision: train(precision=precision).column("loss")
        for precision in ("fp32", "tf32", "bf16")
    }
    assert losses["fp32"].tolist() == losses["tf32"].tolist()  # no such unit in a CPU
    assert losses["fp32"].tolist() != losses["bf16"].tolist()
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.05)
