"""Jobs that are stopped at checkpoints and go on from their bytes, to compare with whole ones."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spec.jobs import JOB_SPEC
from tests.worker.engine.conftest import CPU, RANGE_TEST, TRAINING
from worker.engine import Block, Checkpoint, Event, Finished, Pace, Plan, Snapshot, run

OFTEN = Pace(first=60, longest=60, points=7)
"""Blocks that end every seven updates, and where something is due."""

TINY = TRAINING | {
    "model": {"name": "mlp", "params": {"hidden": [16]}},
    "length": {"iterations": 60},
}

RAMP = {"start": 1e-3, "end": 1e3, "iterations": 60}
TEST = RANGE_TEST | {"model": TINY["model"], "range": RAMP}
TRIANGULAR = {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 10}
CYCLED = TRIANGULAR | {"base_momentum": 0.0, "max_momentum": 0.95}
PLATEAU = {"policy": "plateau", "lr": 0.1, "patience": 1, "threshold": 1.0, "factor": 0.5}
"""Falls at every second look, whatever it sees."""
AUTO = {
    "policy": "auto",
    "range": {"start": 1e-4, "end": 10.0, "iterations": 60},
    "repeats": 2,
}
EVALUATED = {"evaluate": {"every": {"iterations": 8}}}


def optimizer(name: str, **params: Any) -> dict[str, Any]:
    return {"optimizer": {"name": name, "params": params}}


MOMENTUM = optimizer("sgd", momentum=0.9, weight_decay=1e-3)
TRAININGS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": MOMENTUM,
    "nesterov": optimizer("sgd", momentum=0.9, nesterov=True),
    "adam": optimizer("adam", weight_decay=1e-3),
    "amsgrad": optimizer("adam", amsgrad=True),
    "adamw": optimizer("adamw"),
    "rmsprop": optimizer("rmsprop"),
    "rmsprop with all": optimizer("rmsprop", momentum=0.9, centered=True),
    "schedule-free sgd": optimizer("sgd_schedulefree") | EVALUATED,
    "schedule-free adamw": optimizer("adamw_schedulefree", r=1.0) | EVALUATED,
    "prodigy": optimizer("prodigy") | {"schedule": {"policy": "constant", "lr": 1.0}},
    "cycled momentum": MOMENTUM | {"schedule": CYCLED},
    "cycled beta": optimizer("adam") | {"schedule": CYCLED},
    "dropout": {"model": {"name": "mlp", "params": {"hidden": [16], "dropout": 0.5}}},
    "batch norm": MOMENTUM
    | EVALUATED
    | {
        "model": {"name": "resnet", "params": {"width": 2}},
        "length": {"iterations": 20},
        "channels_last": True,
    },
    "schedule-free batch norm": optimizer("sgd_schedulefree")
    | {"model": {"name": "resnet", "params": {"width": 2}}, "length": {"iterations": 20}},
    "plateau by val_loss": EVALUATED | {"schedule": PLATEAU},
    "plateau by val_accuracy": EVALUATED | {"schedule": PLATEAU | {"metric": "val_accuracy"}},
    "plateau by train_loss": {
        "schedule": PLATEAU | {"metric": "train_loss"},
        "batch_size": 128,  # an epoch has 11 iterations
    },
    **{
        f"hypergradient {name}": {"schedule": {"policy": "hypergradient", "lr": 0.01}} | each
        for name, each in {
            "sgd": {},
            "momentum": MOMENTUM,
            "nesterov": optimizer("sgd", momentum=0.9, nesterov=True),
            "adam": optimizer("adam") | {"lr_groups": {"layer_decay": 2.0}},
            "amsgrad": optimizer("adamw", amsgrad=True),
        }.items()
    },
    "snapshots": MOMENTUM
    | {"schedule": TRIANGULAR, "snapshots": {"average_last": 2, "curvature": True}},
    "accumulation and clipping": {
        "accumulation": 4,
        "clipping": {"norm": 0.5},
        "record": ["accuracy", "grad_norm", "probe_loss"],
    },
    "groups": optimizer("adam") | {"lr_groups": {"multipliers": {"1.*": 0.1, "3.bias": 0.0}}},
    "groups of schedule-free": optimizer("sgd_schedulefree")
    | {"lr_groups": {"layer_decay": 2.0}, "schedule": TRIANGULAR},
    "frozen under prodigy": optimizer("prodigy")
    | {
        "lr_groups": {"multipliers": {"1.*": 0.0}},
        "schedule": {"policy": "constant", "lr": 1.0},
    },
    "bf16": optimizer("adam") | {"precision": "bf16"},
    "evaluations": EVALUATED,
    "streamed": {"loader": {"workers": 0}},
    "auto, in its training": MOMENTUM | {"schedule": AUTO} | EVALUATED,
}


def through_bytes(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it is read back from a file, copied."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return found


@dataclass
class Told:
    """What the attempts at a job handed over, one after the other."""

    events: list[Event] = field(default_factory=list)

    @property
    def plans(self) -> list[Plan]:
        return [each for each in self.events if isinstance(each, Plan)]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        return [each for each in self.events if isinstance(each, Checkpoint)]

    @property
    def result(self) -> dict[str, Any]:
        """Without its seconds."""
        assert isinstance(self.events[-1], Finished)
        return {name: each for name, each in self.events[-1].result.items() if name != "seconds"}

    def series(self) -> dict[tuple[str, int, str], NDArray[Any]]:
        """Every column, by block series, repeat and name; iterations follow each other."""
        parts: dict[tuple[str, int, str], list[NDArray[Any]]] = {}
        ends: dict[tuple[str, int], int] = {}
        for each in self.events:
            if not isinstance(each, Block):
                continue
            if each.series != "validation":
                place = (each.series, each.repeat)
                assert each.start == ends.get(place, each.start)
                ends[place] = each.start + len(each)
            for name, column in each.columns.items():
                parts.setdefault((each.series, each.repeat, name), []).append(column)
        return {key: np.concatenate(each) for key, each in parts.items()}

    def snapshots(self) -> list[Snapshot]:
        return [each for each in self.events if isinstance(each, Snapshot)]


def told(
    job: dict[str, Any],
    data_dir: Path = Path(),
    *,
    stops: Sequence[int] = (),
    pace: Pace = OFTEN,
    device: torch.device = CPU,
    **options: Any,
) -> Told:
    """Run a job; at the first checkpoint at or after each of `stops` it ends and is resumed."""
    spec = JOB_SPEC.validate_python(job)
    found, stops = Told(), [*stops]
    while True:
        asked: list[int] = []
        due = partial(bool, asked)
        events = run(spec, device=device, data_dir=data_dir, pace=pace, due=due, **options)
        done = 0
        for event in events:
            found.events.append(event)
            if isinstance(event, Plan) and not done:
                done = event.start
            if isinstance(event, Block) and event.series != "validation":
                done += len(event)
                if stops and done >= stops[0]:
                    asked.append(done)
            if isinstance(event, Checkpoint) and asked:
                assert event.iteration == asked[-1]
                break
        else:
            return found
        saved = through_bytes(event.state)
        events.close()  # type: ignore[attr-defined]  # it is a generator
        options = {"resume": saved}
        del stops[0]


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two states are not the same to the bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        same = same and a.numpy(force=True).tobytes() == b.numpy(force=True).tobytes()
        return [] if same else [where]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [
            found
            for i, pair in enumerate(zip(a, b, strict=True))
            for found in differences(*pair, f"{where}/{i}")
        ]
    return [] if type(a) is type(b) and a == b else [where]


def assert_same(one: Told, other: Told) -> None:
    """Two runs of a job recorded the same, came to the same, and left the same state."""
    ours, theirs = one.series(), other.series()
    assert ours.keys() == theirs.keys()
    for key, column in ours.items():
        assert column.tobytes() == theirs[key].tobytes(), key
    assert one.result == other.result
    assert one.plans[-1].iterations == other.plans[-1].iterations
    for a, b in zip(one.snapshots(), other.snapshots(), strict=True):
        assert a.iteration == b.iteration
        assert not differences(a.weights, b.weights)
    if one.checkpoints and other.checkpoints and isinstance(one.events[-2], Checkpoint):
        states = [
            {part: each.checkpoints[-1].state["training"][part] for part in ("learner", "steering")}
            for each in (one, other)
        ]
        assert not differences(*states)


def first_checkpoint(job: dict[str, Any], after: int = 0) -> Checkpoint:
    """The first that may be asked for after so many updates."""
    done = 0
    spec = JOB_SPEC.validate_python(job)
    events = run(spec, device=CPU, data_dir=Path(), pace=OFTEN, due=lambda: done > after)
    for event in events:
        done += len(event) if isinstance(event, Block) and event.series != "validation" else 0
        if isinstance(event, Checkpoint):
            return event
    raise AssertionError("there was none")
