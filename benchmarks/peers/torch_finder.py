"""torch-lr-finder's range test, with its defaults."""

import contextlib
import io
import os

os.environ.setdefault("TQDM_DISABLE", "1")  # its progress bar; read at import

from peers.shared import Stopwatch, loader, model, optimizer
from tasks import END, Task
from torch_lr_finder import LRFinder


def measure(task: Task) -> float:
    """Iterations a second."""
    batches = loader(task)
    criterion = Stopwatch(task)
    network = model(task)
    finder = LRFinder(network, optimizer(task, network), criterion, device=task.device)
    with contextlib.redirect_stdout(io.StringIO()):
        finder.range_test(batches, end_lr=END, num_iter=task.iterations)
    return criterion.speed()
