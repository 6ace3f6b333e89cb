"""fastai: `Learner.lr_find` and `Learner.fit`, with its own optimizers."""

import tempfile
from functools import partial
from pathlib import Path

from fastai.callback import schedule  # noqa: F401 - gives learners their lr_find
from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import SGD, Adam
from peers.shared import Stopwatch, loader, model
from tasks import END, LR, START, Task


class OnlyTraining(Callback):
    """No loop of the table validates; `lr_find` leaves it out by itself."""

    def before_validate(self) -> None:
        """At the end of an epoch."""
        raise CancelValidException


def measure(task: Task) -> float:
    """Iterations a second."""
    batches = loader(task)
    params = task.workload.optimizer.get("params", {})
    optimizer = partial(SGD, mom=params["momentum"]) if params else Adam
    with tempfile.TemporaryDirectory() as folder:
        criterion = Stopwatch(task)
        learner = Learner(
            DataLoaders(batches, batches, device=task.device),
            model(task),
            loss_func=criterion,
            opt_func=optimizer,
            path=Path(folder),
            lr=LR,
        )
        with learner.no_bar(), learner.no_logging():
            if task.mode == "range-test":
                learner.lr_find(START, END, task.iterations, show_plot=False)
            else:
                learner.fit(task.epochs, cbs=OnlyTraining())
    return criterion.speed()
