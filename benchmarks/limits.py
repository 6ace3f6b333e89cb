"""How many iterations a second this machine could make at most: arithmetic, then memory.

An iteration's matrix products and convolutions at the speed of the largest product, and what its
optimizer reads and writes at the speed of a copy of as many bytes; everything else is free.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from peers.shared import dataset, model
from tables import machine, show
from tasks import WORKLOADS, Task
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from spec.compute import Precision
from worker.engine.device import onednn_is_exact

PASSES = {"adam": 7, "sgd": 5}
"""Numbers an update reads or writes for each weight: it, its gradient, and the state."""

SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
"""Of the square matrices whose product is the fastest there is."""

LEAST_COPY = 1 << 20
"""Bytes; smaller ones measure the call."""


@dataclass(frozen=True)
class Limit:
    """What an iteration takes, and how fast it could be had.

    Attributes:
        operations: floating-point ones.
        moved: bytes that the optimizer reads and writes.
        peak: operations a second.
        bandwidth: bytes a second.
    """

    operations: float
    moved: float
    peak: float
    bandwidth: float

    @property
    def speed(self) -> float:
        """Iterations a second."""
        return 1 / (self.operations / self.peak + self.moved / self.bandwidth)


def measure(task: Task) -> float:
    """Iterations a second at most, as the machine is now."""
    return limit(task).speed


def limit(task: Task) -> Limit:
    """Of the workload, as the machine is now."""
    if task.threads:
        torch.set_num_threads(task.threads)
    operations, moved = _needs(task.workload.title, lambda: _counted(task))
    return Limit(
        operations,
        moved,
        gemm_peak(task.precision, task.device),
        copy_bandwidth(int(moved), task.device),
    )


def gemm_peak(precision: Precision, device: str) -> float:
    """Operations a second of the fastest product, with the engine's setting for the precision."""
    before = torch.get_float32_matmul_precision()
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    where = torch.device(device)
    if where.type == "cpu":
        # each is faster at some size
        settings = ["highest", "medium"] if onednn_is_exact() else ["highest"]
    else:
        settings = ["high" if precision == "tf32" else "highest"]
    best = 0.0
    try:
        for size in SIZES[where.type]:
            a, b, out = (torch.rand(size, size, device=where).to(kind) for _ in range(3))
            for setting in settings:
                torch.set_float32_matmul_precision(setting)
                took = fastest(partial(torch.mm, a, b, out=out), where)
                best = max(best, 2 * size**3 / took)
    finally:
        torch.set_float32_matmul_precision(before)
    return best


def copy_bandwidth(moved: int, device: str) -> float:
    """Bytes read and written a second, by a copy that moves as many as that."""
    count = max(moved, LEAST_COPY) // 8  # float32, once read and once written
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    return 8 * count / fastest(lambda: target.copy_(source), torch.device(device))


def fastest(work: Callable[[], Tensor], device: torch.device) -> float:
    """The fewest seconds of a call, over a tenth of a second of them."""
    best, until = float("inf"), perf_counter() + 0.1
    while perf_counter() < until:
        began = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, perf_counter() - began)
    return best


_kept: dict[str, tuple[float, float]] = {}


def _needs(name: str, count: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    if name not in _kept:
        _kept[name] = count()
    return _kept[name]


def _counted(task: Task) -> tuple[float, float]:
    """Operations and bytes of an iteration."""
    network = model(task, wrapped=False)
    batch = dataset(task).train.between(0, task.workload.batch_size)
    with FlopCounterMode(display=False) as counter:
        scores = network(batch.inputs.to(task.device))
        torch.autograd.backward(functional.cross_entropy(scores, batch.labels.to(task.device)))
    weights = sum(each.numel() for each in network.parameters())
    return counter.get_total_flops(), 4 * weights * PASSES[task.workload.optimizer["name"]]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, help="default: torch's own")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="of fashion-mnist/")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    rows = []
    for workload in WORKLOADS.values():
        found = limit(
            Task(
                workload,
                "range-test",
                workload.iterations,
                options.precision,
                options.threads,
                options.device,
                options.data_dir,
            )
        )
        rows.append(
            [
                workload.title,
                f"{found.operations / 1e6:.1f}",
                f"{found.peak / 1e9:.0f}",
                f"{found.moved / 1e6:.2f}",
                f"{found.bandwidth / 1e9:.0f}",
                f"{found.speed:.0f}",
            ]
        )
    headers = ["workload", "M operations", "G/s at most", "MB", "GB/s at most", "it/s at most"]
    threads = f"{torch.get_num_threads()} threads"
    notes = [machine(threads)]
    show(f"Limits, {options.precision}", headers, rows, notes=notes, markdown=options.markdown)


if __name__ == "__main__":
    main()
