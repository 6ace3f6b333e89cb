"""How fast one range test runs: stepsize's engine, torch-lr-finder and a plain PyTorch loop."""

import argparse
import contextlib
import io
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ.setdefault("TQDM_DISABLE", "1")  # torch-lr-finder's progress bar; read at import

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_lr_finder import LRFinder

from schedules.ramp import Ramp
from spec.components import FashionMnistParams
from spec.jobs import RangeTestSpec
from worker.engine import Finished, Plan, run
from worker.engine.data import load

BATCH = 200
CPU = torch.device("cpu")
# the end is low enough for nobody to stop early: every loop makes all the iterations
RAMP = Ramp(start=1e-7, end=1e-2, iterations=300)
FINDER = "torch-lr-finder"


def stepsize(data_dir: Path) -> float:
    """The engine's public entry, as a worker uses it."""
    spec = RangeTestSpec.model_validate(
        {
            "kind": "range_test",
            "model": {"name": "mlp", "params": {"hidden": [784]}},
            "data": {"name": "fashion-mnist"},
            "batch_size": BATCH,
            "optimizer": {"name": "adam"},
            "range": RAMP,
            "extensions": 0,
            "repeats": 1,
        }
    )
    events = run(spec, device=CPU, data_dir=data_dir)
    assert isinstance(next(events), Plan)  # noqa: S101 - the data is loaded by then
    began = perf_counter()
    *_, last = events
    seconds = perf_counter() - began
    assert isinstance(last, Finished)  # noqa: S101 - as above
    assert last.result["iterations"] == RAMP.iterations  # noqa: S101 - comparing like with like
    return RAMP.iterations / seconds


def torch_lr_finder(data_dir: Path) -> float:
    """Its range test with its defaults, on a DataLoader over tensors in memory."""
    loader = _loader(data_dir)
    began = perf_counter()
    model = _mlp()
    finder = LRFinder(
        model, torch.optim.Adam(model.parameters(), lr=RAMP.start), nn.CrossEntropyLoss()
    )
    with contextlib.redirect_stdout(io.StringIO()):
        finder.range_test(loader, end_lr=RAMP.end, num_iter=RAMP.iterations)
    seconds = perf_counter() - began
    assert len(finder.history["loss"]) == RAMP.iterations  # noqa: S101 - comparing like with like
    return RAMP.iterations / seconds


def plain_loop(data_dir: Path) -> float:
    """The loop of a tutorial: DataLoader, Adam, `loss.item()` at every iteration."""
    loader = _loader(data_dir)
    began = perf_counter()
    model, criterion = _mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RAMP.start)
    growth = (RAMP.end / RAMP.start) ** (1 / (RAMP.iterations - 1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, growth)
    losses: list[float] = []
    while len(losses) < RAMP.iterations:
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) == RAMP.iterations:
                break
    return RAMP.iterations / (perf_counter() - began)


CONTESTANTS: dict[str, Callable[[Path], float]] = {
    "stepsize": stepsize,
    FINDER: torch_lr_finder,
    "plain PyTorch loop": plain_loop,
}


@dataclass(frozen=True)
class Row:
    """One contestant's line of the table."""

    name: str
    speed: float
    least: float
    most: float
    ratio: float

    def cells(self) -> tuple[str, ...]:
        """As text."""
        return (
            self.name,
            f"{self.speed:.0f}",
            f"{self.least:.0f} - {self.most:.0f}",
            f"{self.ratio:.2f}",
        )


HEADERS = ("loop", "iterations/s (median)", "least - most", f"x {FINDER}")


def measure(rounds: int, data_dir: Path) -> list[Row]:
    """Every contestant once a round, in turn, after a round that does not count."""
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for each in range(rounds + 1):
        for name, contestant in CONTESTANTS.items():
            speed = contestant(data_dir)
            if each > 0:  # the first pays for imports, caches and the choice of kernels
                speeds[name].append(speed)
    # within a round the machine is in one state, between rounds it may not be: so ratios first
    return [
        Row(
            name,
            median(each),
            min(each),
            max(each),
            median(a / b for a, b in zip(each, speeds[FINDER], strict=True)),
        )
        for name, each in speeds.items()
    ]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} The same model (MLP 784-784-10), data (Fashion-MNIST in memory), "
        f"optimizer (Adam), batch ({BATCH}), precision (fp32) and {RAMP.iterations} iterations "
        "for all; the clock runs from building the model to the last loss, without loading data.",
        epilog="Other busy processes distort the numbers, with two threads or more above all: "
        "OpenMP threads wait for each other by spinning. Run it on an idle machine, or with "
        "--threads 1, and quote the ratio rather than the speeds.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default 7)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="threads torch computes with"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("data"),
        help="where to look for fashion-mnist/ if the system has none; it is downloaded into here",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rows = measure(options.rounds, options.data_dir)
    machine = (
        f"torch {torch.__version__}, {_processor()}, threads: {torch.get_num_threads()}, "
        f"rounds: {options.rounds}"
    )
    if options.markdown:
        for line in (HEADERS, ("---",) * len(HEADERS), *(row.cells() for row in rows)):
            print(f"| {' | '.join(line)} |")
        print(f"\n{machine}")
        return
    table = Table(*HEADERS, caption=machine)
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 10))


def _loader(data_dir: Path) -> DataLoader[tuple[torch.Tensor, ...]]:
    train = load(FashionMnistParams(), device=CPU, data_dir=data_dir).train
    data = TensorDataset(train.inputs, train.labels)
    return DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
