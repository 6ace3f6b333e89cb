"""What the peers' loops have in common: the model, the data in memory, and the clock."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

import torch
from tasks import LR, START, Task
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from spec.components import DATASETS, MODELS
from worker.engine.data import open_dataset
from worker.engine.models import build
from worker.engine.splits import Dataset

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
CPU = torch.device("cpu")
Loader = DataLoader[tuple[Tensor, ...]]


class Stopwatch(nn.Module):
    """Cross-entropy that counts: the clock runs from its making to the last loss."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.count = 0
        self.began = self.ended = perf_counter()

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss, and a note of when the last one was there."""
        loss = functional.cross_entropy(scores, labels)
        self.tick()
        return loss

    def tick(self) -> None:
        """There is one more loss."""
        self.count += 1
        if self.count == self.task.iterations:
            if self.task.device != "cpu":
                torch.cuda.synchronize()
            self.ended = perf_counter()

    def speed(self) -> float:
        """Iterations a second; an error if the loop has not made all of them."""
        if self.count < self.task.iterations:
            raise RuntimeError(f"{self.count} iterations, not {self.task.iterations}")
        return self.task.iterations / (self.ended - self.began)


class Bf16(nn.Module):
    """A model whose forward pass is in bf16, where its framework offers that on GPUs only."""

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__()
        self.model = model
        self.kind = torch.device(device).type

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores in float32."""
        with torch.autocast(self.kind, dtype=torch.bfloat16):
            scores: Tensor = self.model(inputs)
        return scores.float()


def model(task: Task, *, wrapped: bool = True) -> nn.Module:
    """A fresh one on the task's device; `wrapped` computes in its precision."""
    wanted, read = task.workload.model, dataset(task)
    params = MODELS[wanted["name"]].model_validate(wanted.get("params", {}))
    built = build(params, read.shape, read.classes).to(task.device)
    return Bf16(built, task.device) if wrapped and task.precision == "bf16" else built


def optimizer(task: Task, network: nn.Module) -> torch.optim.Optimizer:
    """torch's, as its users make it; the rate is that of the ramp's start or of the epoch."""
    lr = START if task.mode == "range-test" else LR
    wanted = task.workload.optimizer
    return KINDS[wanted["name"]](network.parameters(), lr=lr, **wanted.get("params", {}))


def loader(task: Task) -> Loader:
    """Batches of the training split, shuffled; of an epoch cut short, of as much of it."""
    train = dataset(task).train
    examples = task.examples if task.mode == "epoch" else len(train)
    data = TensorDataset(train.inputs[:examples], train.labels[:examples])
    return DataLoader(data, batch_size=task.workload.batch_size, shuffle=True, drop_last=True)


def dataset(task: Task) -> Dataset:
    """Standardised, on the CPU: frameworks move batches to a GPU themselves."""
    return _read(task.workload.data["name"], task.data_dir)


@cache
def _read(name: str, data_dir: Path) -> Dataset:
    match open_dataset(DATASETS[name](), device=CPU, data_dir=data_dir, loader=None):
        case Dataset() as found:
            return found
        case _:
            raise MemoryError(f"{name} does not fit into half of what memory is free")


def moved(batch: list[Tensor], task: Task) -> list[Tensor]:
    """A batch on the task's device."""
    return [each.to(task.device) for each in batch]
