"""Writes series to an MLflow server with MLflow's own client, in the environment that has it.

It is given what to do as JSON on the command line, and prints what came out as JSON.
"""

import json
import math
import multiprocessing
import random
import sys
import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

BATCH = 1_000
"""Values in one request: the most that the server takes."""


def main() -> None:
    """Prints the runs, and the seconds until all that was to be written is stored."""
    task = json.loads(sys.argv[1])
    client = MlflowClient(tracking_uri=task["url"])
    runs = [client.create_run("0").info.run_id for _ in range(task["writers"])]
    fork = multiprocessing.get_context("fork")
    barrier, answers = fork.Barrier(len(runs)), fork.SimpleQueue()
    writers = [
        fork.Process(target=_write, args=(task, run, barrier, answers), daemon=True) for run in runs
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    if any(each.exitcode for each in writers):
        raise SystemExit("a writer has failed: see above")
    times = [answers.get() for _ in writers]
    seconds = max(end for _, end in times) - min(begin for begin, _ in times)
    print(json.dumps({"runs": runs, "seconds": seconds}))


def _write(task: dict[str, Any], run: str, barrier: Any, answers: Any) -> None:
    """As many iterations, each with a loss and a rate, in batches as large as they may be."""
    client = MlflowClient(tracking_uri=task["url"])
    noise = random.Random(0)  # noqa: S311 - a loss is no secret
    n = task["iterations"]
    client.get_run(run)  # connects
    barrier.wait()
    began = time.perf_counter()
    now = int(1000 * time.time())
    for start in range(0, n, BATCH // 2):
        metrics = []
        for t in range(start, min(start + BATCH // 2, n)):
            loss = (0.1 + 2.2 * math.exp(-5 * t / n)) * noise.lognormvariate(0, 0.3)
            lr = 0.05 * (1 + math.cos(math.pi * t / n))
            metrics += [Metric("loss", loss, now, t), Metric("lr", lr, now, t)]
        client.log_batch(run, metrics=metrics)
    answers.put((began, time.perf_counter()))


if __name__ == "__main__":
    main()
