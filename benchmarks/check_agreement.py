"""How near do the cross-checks of a range test come to its edge, by optimizer?"""

import argparse
import math
import statistics
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spec.jobs import JOB_SPEC
from worker.engine import Finished, run

MODELS = (
    {"name": "mlp", "params": {"hidden": [64]}},
    {"name": "mlp", "params": {"hidden": [64, 64, 64], "activation": "tanh"}},
    {"name": "lenet", "params": {"channels": [8, 16], "hidden": 64}},
)
OPTIMIZERS = {
    "SGD": {"name": "sgd"},
    "SGD, momentum .9": {"name": "sgd", "params": {"momentum": 0.9}},
    "SGD, Nesterov .9": {"name": "sgd", "params": {"momentum": 0.9, "nesterov": True}},
    "Adam": {"name": "adam"},
    "RMSprop": {"name": "rmsprop"},
}
BATCH_SIZES = (32, 128)
SEEDS = (20, 21)
"""Others than those that the checks were tuned on."""

CHECKS = ("curvature", "line_search")


def range_test(
    model: dict[str, Any], optimizer: dict[str, Any], batch_size: int, seed: int, data_dir: Path
) -> dict[str, Any]:
    """The result of one, with both checks."""
    job = {
        "kind": "range_test",
        "model": model,
        "data": {"name": "digits"},
        "batch_size": batch_size,
        "optimizer": optimizer,
        "checks": CHECKS,
        "seed": seed,
    }
    *_, last = run(JOB_SPEC.validate_python(job), device=torch.device("cpu"), data_dir=data_dir)
    if not isinstance(last, Finished):
        raise TypeError("a job's last event is its end")
    return last.result


def row(results: list[dict[str, Any]]) -> list[str]:
    """Of one optimizer: distances in decades, the median and what 80 % are within."""
    cells = []
    for check in CHECKS:
        far = [
            abs(math.log10(bound / each["landmarks"]["lr_edge"]))
            for each in results
            if (bound := each["checks"][check]["lr"]) is not None
        ]
        if not far:
            cells += ["-", "-"]
            continue
        within = statistics.quantiles(far, n=5)[-1]
        cells += [f"{statistics.median(far):.2f} ({within:.2f})", str(len(results) - len(far))]
    agreed = Counter(each["agreement"] for each in results)
    return [*cells, *(str(agreed[word]) for word in ("high", "medium", "low"))]


def main() -> None:
    """Run the range tests, and print the table in Markdown's form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    data_dir = parser.parse_args().data_dir
    torch.set_num_threads(1)

    columns = ("curvature", "no bound", "line search", "no bound", "high", "medium", "low")
    table = Table("optimizer", *columns)
    cases = list(product(MODELS, BATCH_SIZES, SEEDS))
    for name, optimizer in track(OPTIMIZERS.items(), console=Console(stderr=True)):
        results = [
            range_test(model, optimizer, batch_size, seed, data_dir)
            for model, batch_size, seed in cases
        ]
        found = [each for each in results if each["status"] == "ok"]
        table.add_row(f"{name} ({len(found)})", *row(found))
    Console().print(table)


if __name__ == "__main__":
    main()
