"""ignite: a supervised trainer, by itself and with `FastaiLRFinder` attached."""

from ignite.engine import create_supervised_trainer
from ignite.handlers import FastaiLRFinder
from peers.shared import Stopwatch, loader, model, optimizer
from tasks import END, START, Task


def measure(task: Task) -> float:
    """Iterations a second."""
    batches = loader(task)
    criterion = Stopwatch(task)
    network = model(task)
    update = optimizer(task, network)
    trainer = create_supervised_trainer(network, update, criterion, device=task.device)
    if task.mode == "epoch":
        trainer.run(batches, max_epochs=task.epochs)
        return criterion.speed()
    finder = FastaiLRFinder()
    saved = {"model": network, "optimizer": update}
    with finder.attach(
        trainer, saved, start_lr=START, end_lr=END, num_iter=task.iterations
    ) as attached:
        attached.run(batches, max_epochs=task.epochs + 1)  # it asks for one iteration more
    return criterion.speed()
