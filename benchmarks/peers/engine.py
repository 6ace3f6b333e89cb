"""stepsize's engine, by its public entry, as a worker uses it."""

from time import perf_counter

import torch
from tasks import Task, spec

from worker.engine import Block, run


def measure(task: Task) -> float:
    """Iterations a second from the start to the last recorded loss.

    The model of a job that compiles it has been compiled when its first block arrives: there the
    clock starts.
    """
    compiles = bool(task.options.get("compile"))
    made = before = 0
    began = ended = perf_counter()
    for event in run(spec(task), device=torch.device(task.device), data_dir=task.data_dir):
        if isinstance(event, Block) and event.series == "train":
            made, ended = made + len(event), perf_counter()
            if compiles and not before:
                before, began = made, ended
    if made != task.iterations or made == before:
        raise RuntimeError(f"{made} iterations, {before} in the first block: {task.iterations}?")
    return (made - before) / (ended - began)
