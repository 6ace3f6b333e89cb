"""Lightning: `Tuner.lr_find` and `Trainer.fit`."""

import logging
import tempfile

import pytorch_lightning as pl
import torch
from peers.shared import Stopwatch, loader, model, optimizer
from pytorch_lightning.tuner.tuning import Tuner
from tasks import END, START, Task
from torch import Tensor

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Module(pl.LightningModule):
    """The model as Lightning wants it."""

    def __init__(self, task: Task, criterion: Stopwatch) -> None:
        super().__init__()
        self.task, self.criterion, self.lr = task, criterion, START
        self.model = model(task, wrapped=False)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        inputs, labels = batch
        loss: Tensor = self.criterion(self.model(inputs), labels)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The finder sets its rate."""
        return optimizer(self.task, self.model)


def measure(task: Task) -> float:
    """Iterations a second."""
    batches = loader(task)
    with tempfile.TemporaryDirectory() as folder:
        criterion = Stopwatch(task)
        trainer = pl.Trainer(
            accelerator="cpu" if task.device == "cpu" else "gpu",
            devices=1,
            precision="bf16-mixed" if task.precision == "bf16" else "32-true",
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            max_epochs=-1,
            max_steps=task.iterations,
        )
        module = Module(task, criterion)
        if task.mode == "epoch":
            trainer.fit(module, batches)
        else:
            Tuner(trainer).lr_find(
                module,
                batches,
                min_lr=START,
                max_lr=END,
                num_training=task.iterations,
                update_attr=False,
            )
    return criterion.speed()
