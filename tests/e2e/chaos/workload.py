"""What the service has to run while things break: a few specs, many times each."""

from random import Random
from typing import Any

from tests.factories import range_test_json, training_json

Columns = dict[str, dict[str, list[Any]]]
"""Series that share their iterations -> names -> values; `iteration` is one of the names."""

SMALL: dict[str, Any] = {"model": {"name": "mlp", "params": {"hidden": [16]}}}
LARGER: dict[str, Any] = {"model": {"name": "mlp", "params": {"hidden": [128, 128]}}}

SPECS: dict[str, dict[str, Any]] = {
    "short": training_json(**SMALL, length={"iterations": 300}),
    "evaluated": training_json(
        **LARGER,
        length={"iterations": 2500},
        evaluate={"every": {"iterations": 500}},
        record=["accuracy"],
    ),
    "adam": training_json(
        **LARGER,
        length={"iterations": 2000},
        optimizer={"name": "adamw", "params": {"weight_decay": 0.01}},
        schedule={"policy": "one_cycle", "max_lr": 0.01},
    ),
    "dropout": training_json(
        model={"name": "mlp", "params": {"hidden": [64], "dropout": 0.3}},
        length={"iterations": 2500},
        snapshots="cycle_end",
        schedule={"policy": "sgdr", "lr": 0.1, "t_0": 600},
    ),
    "range test": range_test_json(**LARGER, repeats=2),
    "auto": training_json(
        **SMALL,
        schedule={
            "policy": "auto",
            "range": {"start": 1e-4, "end": 100.0, "iterations": 200},
            "repeats": 2,
        },
        length={"iterations": 1500},
    ),
    "together": training_json(**SMALL, length={"iterations": 1500}, population=True),
}

ROUNDED = {"together"}
"""What is trained in one program with others, or alone, and so is equal up to rounding only."""

NAMES = {
    "train": ["loss", "lr"],
    "validation": ["val_loss", "val_accuracy"],
    "range_test": ["range_loss", "range_lr"],
}


def drawn(random: Random, number: int) -> tuple[str, dict[str, Any]]:
    """The spec of the job of that number, whose name no other job has."""
    kind = random.choice(list(SPECS))
    return kind, {**SPECS[kind], "name": f"chaos {number} {kind}"}
