"""The loop of a tutorial: DataLoader, optimizer, scheduler, `loss.item()` at every iteration."""

import torch
from peers.shared import Stopwatch, loader, model, moved, optimizer
from tasks import END, START, Task


def measure(task: Task) -> float:
    """Iterations a second."""
    batches = loader(task)
    criterion = Stopwatch(task)
    network = model(task)
    update = optimizer(task, network)
    growth = (END / START) ** (1 / (task.iterations - 1)) if task.mode == "range-test" else 1.0
    schedule = torch.optim.lr_scheduler.ExponentialLR(update, growth)
    losses: list[float] = []
    while len(losses) < task.iterations:
        for batch in batches:
            inputs, labels = moved(batch, task)
            update.zero_grad()
            loss = criterion(network(inputs), labels)
            loss.backward()
            update.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) == task.iterations:
                break
    return criterion.speed()
