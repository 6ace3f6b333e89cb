"""Do the suggestions under `compat` equal those of the finders they are named after?

Each finder runs the way its users run it, on a model whose losses are given; ours reads the same
losses at the same rates. fastai has to be installed without its dependencies, of which one
would bring another torch: `pip install --no-deps fastai==2.8.12`.
"""

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache, wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # read when the finders are imported

import ignite.engine
import ignite.handlers
import numpy as np
import pytorch_lightning as pl
import torch
import torch_lr_finder
from fastai.callback import schedule
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from numpy.typing import NDArray
from outcomes import ramp_up
from pytorch_lightning.tuner.tuning import Tuner
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from schedules.analysis.compat import compat
from schedules.values import F64

F32 = NDArray[np.float32]

START, END = 1e-7, 10.0
TOLERANCE = 1e-6
"""Relative: some finders keep their rates in single precision. The next rate is 5 % away."""

Rates = dict[str, float | None]
Answer = tuple[list[float], Rates]
"""The rates of a finder's iterations, and what it suggests, by rule."""


class Scripted(nn.Module):
    """A model that gives back its input; its one weight takes part, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, loss: Tensor) -> Tensor:
        """The loss, with a gradient of 0."""
        return loss + 0 * self.weight


def itself(scores: Tensor, _: Tensor) -> Tensor:
    """The criterion: the one value of the batch."""
    return scores.mean()


def batches(losses: F32) -> DataLoader[tuple[Tensor, ...]]:
    """One loss a batch, in order."""
    values = torch.from_numpy(losses)
    return DataLoader(TensorDataset(values, torch.zeros(len(values))), batch_size=1)


def fastai(losses: F32) -> Answer:
    """`Learner.lr_find`; where a loss is negative, with its stop switched off."""

    def or_nan(rule: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(rule)
        def guarded(*args: Any) -> Any:
            try:
                return rule(*args)
            except (IndexError, RuntimeError, ValueError):  # too few points for it
                return None, (0.0, 0.0)

        return guarded

    rules = (schedule.valley, schedule.slide, schedule.minimum, schedule.steep)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(batches(losses), batches(losses)),
            Scripted(),
            loss_func=itself,
            path=Path(folder),
        )
        found = learner.lr_find(
            START,
            END,
            len(losses),
            stop_div=not np.any(losses < 0),
            show_plot=False,
            suggest_funcs=[or_nan(rule) for rule in rules],
        )
    return list(learner.recorder.lrs), found._asdict()


def torch_finder(losses: F32) -> Answer:
    """`LRFinder.range_test`, then `plot`."""
    model = Scripted()
    finder = torch_lr_finder.LRFinder(model, torch.optim.SGD(model.parameters(), START), itself)
    finder.range_test(batches(losses), end_lr=END, num_iter=len(losses))
    try:
        _, rate = finder.plot()
    except RuntimeError:  # too few points
        rate = None
    return finder.history["lr"], {"torch_lr_finder": rate and float(rate)}


class LightningScripted(pl.LightningModule):
    """The same as Lightning wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.lr = Scripted(), START

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        return itself(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD; the finder sets its rate."""
        return torch.optim.SGD(self.parameters(), self.lr)


def lightning(losses: F32) -> Answer:
    """`Tuner.lr_find`, then `suggestion`."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            max_epochs=1,
        )
        finder = Tuner(trainer).lr_find(
            LightningScripted(),
            batches(losses),
            min_lr=START,
            max_lr=END,
            num_training=len(losses),
            update_attr=False,
        )
    assert finder is not None  # noqa: S101 - only after a fast_dev_run
    return finder.results["lr"], {"lightning": finder.suggestion()}


def ignite_finder(losses: F32) -> Answer:
    """`FastaiLRFinder.attach`, then `lr_suggestion`."""
    model = Scripted()
    optimizer = torch.optim.SGD(model.parameters(), START)
    finder = ignite.handlers.FastaiLRFinder()
    trainer = ignite.engine.create_supervised_trainer(model, optimizer, itself)
    saved = {"model": model, "optimizer": optimizer}
    with finder.attach(trainer, saved, start_lr=START, end_lr=END) as attached:
        attached.run(batches(losses), max_epochs=1)
    try:
        rate = finder.lr_suggestion()
    except RuntimeError:  # never falls
        rate = None
    return finder.get_results()["lr"], {"ignite": rate}


FINDERS: dict[str, Callable[[F32], Answer]] = {
    "fastai": fastai,
    "torch-lr-finder": torch_finder,
    "pytorch-lightning": lightning,
    "pytorch-ignite": ignite_finder,
}


@cache
def ramp(package: str, length: int) -> F64:
    """The rates of a finder that nothing stops."""
    with silence():
        rates, _ = FINDERS[package](np.linspace(3, 1, length, dtype=np.float32))
    return np.array(rates)


def series(data_dir: Path) -> Iterator[tuple[str, F64]]:
    """Losses of many kinds: of real range tests, and made up."""
    for optimizer in ("sgd", "adam"):
        for length in (100, 300):
            job = {
                "kind": "range_test",
                "model": {"name": "mlp", "params": {"hidden": [32]}},
                "data": {"name": "digits"},
                "batch_size": 32,
                "optimizer": {"name": optimizer},
                "range": {"start": START, "end": END, "iterations": length},
            }
            for losses in ramp_up(job, data_dir)["losses"]:
                yield "real", np.array(losses, dtype=np.float64)

    random = np.random.default_rng(0)
    for length in (30, 100, 250):
        lr = np.geomspace(START, END, length)
        falls = 0.3 + 2 / (1 + (lr / 1e-3) ** 1.5)
        for edge in (0.01, 0.3, 3.0):
            for noise in (0.0, 0.02, 0.3):
                rises = 0.5 * (lr / edge) ** 3
                yield "U-shaped", falls + rises + noise * random.uniform(0, 1, length)
        for cut in (0.2, 0.5, 0.9):
            at = int(cut * length)
            for bad in (np.nan, np.inf):
                losses = falls + 0.05 * random.uniform(0, 1, length)
                losses[at:] = bad
                yield "tail not finite", losses
            losses = falls.copy()
            losses[at] = 30.0
            yield "one spike", losses
        losses = falls.copy()
        losses[0] = np.inf
        yield "one spike", losses
        yield "diverges early", 2.3 + np.exp(np.minimum(np.arange(length) - 12, 60.0))
        yield "only rises", np.linspace(1, 3, length)
        yield "only falls", np.linspace(3, 1, length)
        yield "flat", np.full(length, 2.3)
        yield "flat", np.zeros(length)
        yield "flat", 2.3 + 0.05 * random.standard_normal(length)
        yield "negative", falls - 100
        yield "negative", falls - 1
        yield "random walk", 10 + np.cumsum(random.standard_normal(length))
    yield "short", np.linspace(3, 1, 8)
    yield "short", np.linspace(3, 1, 17)


def difference(ours: float | None, theirs: float | None) -> float:
    """Relative; infinite where only one of them suggests anything."""
    if ours is None or theirs is None:
        return 0.0 if ours is theirs else float("inf")
    return abs(ours / theirs - 1)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What the finders print, log and warn of is of no interest here."""
    logging.disable()
    with (
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield
    logging.disable(logging.NOTSET)


def main() -> int:
    """Compare, print the table, and return the number of mismatches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    data_dir = parser.parse_args().data_dir
    torch.set_num_threads(1)

    compared: dict[tuple[str, str], list[float]] = {}
    silent: Counter[str] = Counter()
    missed = []
    for kind, losses in track(list(series(data_dir)), console=Console(stderr=True)):
        given = losses.astype(np.float32)
        for package, finder in FINDERS.items():
            with silence():
                _, theirs = finder(given)
            ours: Rates = asdict(compat(ramp(package, given.size), given))
            for rule, rate in theirs.items():
                far = difference(ours[rule], rate)
                compared.setdefault((package, rule), []).append(far)
                silent[rule] += rate is None
                if far > TOLERANCE:
                    missed.append(f"{rule}, {kind}, {given.size}: {ours[rule]}, not {rate}")

    table = Table("finder", "rule", "series", "of them no rate", "largest difference")
    for (package, rule), far in compared.items():
        table.add_row(
            f"{package} {version(package)}",
            rule,
            *map(str, (len(far), silent[rule])),
            f"{max(far):.1e}",
        )
    Console().print(table, *missed, sep="\n")
    return len(missed)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
