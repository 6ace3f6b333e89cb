"""stepsize's populations: runs that differ in rate, momentum and seed, as one program or singly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tasks import Record, Workload

from spec.components import DATASETS
from spec.jobs import TrainingSpec
from worker import engine
from worker.engine import Block, EngineError, Event
from worker.engine.data import open_dataset

FIRST = 100
"""Iterations whose losses are compared."""

RATES = {"adam": (1e-4, 1e-3), "sgd": (1e-3, 1e-2)}
MOMENTA = (0.9, 0.8, 0.95, 0.85)


@dataclass(frozen=True)
class Group:
    """Runs of one workload.

    Attributes:
        together: as one program; else only the first of them, as a job of its own.
    """

    workload: Workload
    size: int
    together: bool
    compile: bool
    iterations: int
    threads: int | None
    device: str
    data_dir: Path


@dataclass(frozen=True)
class Measured:
    """Of a group of runs.

    Attributes:
        speed: iterations a second that each run makes, from its first block on.
        set_up: seconds until then.
        memory: bytes by which the process grew, at most; or what was allocated on the GPU.
        losses: (runs, FIRST)
    """

    speed: float
    set_up: float
    memory: float
    losses: NDArray[np.float64]


def measure(group: Group) -> Measured:
    """Train the group to its end."""
    device = torch.device(group.device)
    data = DATASETS[group.workload.data["name"]]()
    open_dataset(data, device=device, data_dir=group.data_dir, loader=None)  # it is kept
    before = _memory(device, reset=True)
    began = perf_counter()
    losses: list[list[NDArray[Any]]] = [[] for _ in range(group.size)]
    first = made = 0
    started = ended = began
    for index, event in _events(group, device):
        if isinstance(event, EngineError):
            raise event
        if not isinstance(event, Block) or event.series != "train":
            continue
        losses[index].append(event.columns["loss"])
        if index == 0:  # the others' blocks come with it
            made, ended = made + len(event), perf_counter()
            if not first:
                first, started = made, ended
    series = [np.concatenate(each).astype(np.float64) for each in losses if each]
    if {len(each) for each in series} != {group.iterations} or first == made:
        raise RuntimeError(f"not {group.iterations} iterations: {[len(each) for each in series]}")
    return Measured(
        (made - first) / (ended - started),
        started - began,
        _memory(device) - before,
        np.array([each[:FIRST] for each in series]),
    )


def one_by_one(group: Group) -> NDArray[np.float64]:
    """The first losses of every run of the group as a job of its own: (runs, FIRST)."""
    device = torch.device(group.device)
    rows = []
    for spec in specs(group, population=False, iterations=FIRST):
        events = engine.run(spec, device=device, data_dir=group.data_dir)
        blocks = [e.columns["loss"] for e in events if isinstance(e, Block) and e.series == "train"]
        rows.append(np.concatenate(blocks).astype(np.float64))
    return np.array(rows)


def specs(group: Group, *, population: bool, iterations: int) -> list[TrainingSpec]:
    """One for each run; the first ones of a larger group are those of a smaller one."""
    optimizer = group.workload.optimizer
    low, high = RATES[optimizer["name"]]
    found = []
    for index in range(group.size):
        # spread out evenly, however many there are
        lr = low * (high / low) ** (index * 0.618034 % 1)
        params: Mapping[str, Any] = optimizer.get("params", {})
        if "momentum" in params:
            params = {**params, "momentum": MOMENTA[index % len(MOMENTA)]}
        job: Record = {
            "kind": "training",
            "model": group.workload.model,
            "data": group.workload.data,
            "batch_size": group.workload.batch_size,
            "optimizer": {"name": optimizer["name"], "params": params},
            "schedule": {"policy": "constant", "lr": lr},
            "length": {"iterations": iterations},
            "seed": index,
            "threads": group.threads,
            "population": population,
            "compile": group.compile,
        }
        found.append(TrainingSpec.model_validate(job))
    return found


def _events(group: Group, device: torch.device) -> Iterator[tuple[int, Event | EngineError]]:
    made = specs(group, population=group.together, iterations=group.iterations)
    if group.together:
        yield from engine.run_population(made, device=device, data_dir=group.data_dir)
    else:
        for event in engine.run(made[0], device=device, data_dir=group.data_dir):
            yield 0, event


def _memory(device: torch.device, *, reset: bool = False) -> float:
    """Bytes in use at most since it was reset."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.max_memory_allocated())
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: resets VmHWM
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    return 1024.0 * float(kilobytes)
