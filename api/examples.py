"""Examples for the contract: requests, of which a test submits each, and answers."""

from typing import Any

from fastapi.openapi.models import Example

_COMMON = {
    "model": {"name": "mlp", "params": {"hidden": [784]}},
    "data": {"name": "fashion-mnist"},
    "batch_size": 200,
    "optimizer": {"name": "adam"},
}

EXTENDED = "job_0"
"""Stands for a training of the same parts."""

JOBS: dict[str, Example] = {
    "range test": {
        "summary": "find the learning rates a network can be trained with",
        "value": {
            "kind": "range_test",
            "name": "fashion mlp",
            **_COMMON,
            "range": {"start": 1e-7, "end": 10.0, "iterations": 300, "ramp": "exponential"},
            "repeats": 3,
        },
    },
    "training": {
        "summary": "train under a cyclical learning rate",
        "value": {
            "kind": "training",
            **_COMMON,
            "schedule": {
                "policy": "triangular2",
                "base_lr": 0.001,
                "max_lr": 0.006,
                "step_size": {"epochs": 2},
            },
            "length": {"cycles": 2},
            "evaluate": {"every": {"epochs": 1}},
        },
    },
    "automatic": {
        "summary": "a range test and the training under what it suggests, in one job",
        "value": {
            "kind": "training",
            **_COMMON,
            "schedule": {
                "policy": "auto",
                "schedule": {"policy": "one_cycle", "max_lr": {"range_test": "auto"}},
            },
            "length": {"epochs": 10},
            "evaluate": {"every": {"epochs": 1}},
        },
    },
    "training on digits": {
        "summary": "a few seconds, on data that is always there",
        "value": {
            "kind": "training",
            "model": {"name": "mlp", "params": {"hidden": [64]}},
            "data": {"name": "digits"},
            "batch_size": 32,
            "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
            "schedule": {"policy": "constant", "lr": 0.05},
            "length": {"epochs": 5},
            "record": ["accuracy"],
        },
    },
    "extension": {
        "summary": "go on from the last checkpoint of another training, under another schedule",
        "value": {
            "kind": "training",
            **_COMMON,
            "from": {"job": EXTENDED},
            "schedule": {"policy": "cosine", "lr": 0.001},
            "length": {"epochs": 20},
            "evaluate": {"every": {"epochs": 1}},
        },
    },
}

SWEEPS: dict[str, Example] = {
    "sweep": {
        "summary": "a grid of peaks and momenta",
        "value": {
            "kind": "sweep",
            "template": {
                "kind": "training",
                **_COMMON,
                "optimizer": {"name": "sgd"},
                "schedule": {"policy": "one_cycle", "max_lr": 0.1},
                "length": {"epochs": 10},
            },
            "space": {
                "/schedule/max_lr": {"low": 0.03, "high": 1.0, "log": True, "points": 6},
                "/optimizer/params/momentum": [0.8, 0.9],
            },
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
        },
    },
    "recipe": {
        "summary": "find the learning rates, then compare schedules over three seeds",
        "value": {
            "kind": "recipe",
            "template": {**_COMMON, "length": {"epochs": 10}},
            "find": {"name": "range_test"},
            "schedules": [{"policy": "cosine"}, {"policy": "one_cycle"}, {"policy": "triangular2"}],
            "seeds": [0, 1, 2],
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
        },
    },
}

PREVIEWS: dict[str, Example] = {
    "triangular2": {
        "summary": "three cycles, each half as high as the one before",
        "value": {
            "schedule": {
                "policy": "triangular2",
                "base_lr": 0.001,
                "max_lr": 0.006,
                "step_size": 2000,
            },
            "iterations": 12000,
            "points": 500,
        },
    },
    "one cycle": {
        "summary": "up and down once, with momentum the other way round",
        "value": {
            "schedule": {"policy": "one_cycle", "max_lr": 0.1, "warmup": 100},
            "iterations": 5000,
            "points": 500,
        },
    },
}

_INVALID = [{"pointer": "/schedule/max_lr", "detail": "must be >= base_lr"}]

PROBLEMS: dict[int, dict[str, Any]] = {
    404: {"detail": "there is no job job_01920f4c2b5e7a3c8d41f6a09b7e5d12"},
    409: {"detail": "a job that is succeeded cannot be cancelled"},
    413: {"detail": "the body is larger than 1000000 bytes"},
    422: {"detail": "the request is not valid", "errors": _INVALID},
    503: {"detail": "the database does not take this now: database is locked"},
}
"""Status -> an answer with it, for the contract, but for what follows from the status."""
