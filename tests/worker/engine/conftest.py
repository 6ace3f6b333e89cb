"""Small jobs for the engine, run to their end and put together again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from spec.jobs import JOB_SPEC
from worker.engine import Block, Event, Finished, Pace, Plan, Snapshot, run
from worker.engine.loop import DEFAULT_PACE

CPU = torch.device("cpu")

JOB = {
    "model": {"name": "mlp", "params": {"hidden": [32]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
}
TRAINING = JOB | {
    "kind": "training",
    "schedule": {"policy": "constant", "lr": 0.1},
    "length": {"iterations": 50},
}
RANGE_TEST = JOB | {
    "kind": "range_test",
    "range": {"start": 1e-4, "end": 10.0, "iterations": 60},
    "repeats": 2,
}


@dataclass(frozen=True)
class Recorded:
    """What a job handed over."""

    plans: list[Plan]
    blocks: list[Block]
    snapshots: list[Snapshot]
    result: dict[str, JsonValue]

    @property
    def plan(self) -> Plan:
        """What it came to in the end."""
        return self.plans[-1]

    def column(self, name: str, *, repeat: int = 0) -> NDArray[np.generic]:
        """A whole series; its blocks must follow each other without a gap."""
        rows = [block for block in self.blocks if block.repeat == repeat and name in block.columns]
        if rows and rows[0].series != "validation":
            ends = [block.start + len(block) for block in rows]
            assert [block.start for block in rows] == [0, *ends[:-1]]
        return np.concatenate([block.columns[name] for block in rows])


Start = Callable[..., Iterator[Event]]
Record = Callable[..., Recorded]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a job: `start(TRAINING, batch_size=8)`."""

    def start(
        job: dict[str, Any],
        *,
        pace: Pace = DEFAULT_PACE,
        device: torch.device = CPU,
        **changes: Any,
    ) -> Iterator[Event]:
        spec = JOB_SPEC.validate_python(job | changes)
        return run(spec, device=device, data_dir=tmp_path, pace=pace)

    return start


@pytest.fixture
def train(start: Start) -> Record:
    """Runs a training to its end."""
    return lambda **changes: _recorded(start(TRAINING, **changes))


@pytest.fixture
def range_test(start: Start) -> Record:
    """Runs a range test to its end."""
    return lambda **changes: _recorded(start(RANGE_TEST, **changes))


def _recorded(events: Iterator[Event]) -> Recorded:
    first, *others, finished = events
    assert isinstance(first, Plan)
    assert isinstance(finished, Finished)
    return Recorded(
        [first, *(each for each in others if isinstance(each, Plan))],
        [each for each in others if isinstance(each, Block)],
        [each for each in others if isinstance(each, Snapshot)],
        finished.result,
    )
