"""What a running job hands over: its plan, then blocks of numbers, then its result."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from schedules import Schedule

Columns = dict[str, NDArray[np.generic]]
"""Series name -> one value per row; all of a block's columns are equally long."""

State = dict[str, Any]
"""Dicts and lists of tensors and plain values, as `torch.load(weights_only=True)` reads them."""


@dataclass(frozen=True)
class Plan:
    """The first event: how much there is to do, and how it will be done.

    It is sent again when more becomes known. `iterations` counts all updates of the job, those of
    all repeats of a range test; `schedule` has every count in iterations, and is None for a range
    test; `warnings` say what is odd about it, in sentences; `start` is how many of the updates were
    made before, by an earlier attempt or by the training that this one goes on from.
    """

    iterations: int
    iterations_per_epoch: int
    schedule: Schedule | None
    notes: dict[str, JsonValue]
    warnings: tuple[str, ...] = ()
    start: int = 0


@dataclass(frozen=True)
class Block:
    """Rows of recorded numbers.

    A train block holds consecutive iterations from `start`: loss, lr, and what else the job
    records. So does a range_test block, of the range test that a training begins with. A
    validation block names its iterations (updates done) in a column, and `start` is the first of
    them.
    """

    series: Literal["train", "validation", "range_test"]
    repeat: int
    start: int
    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def until(self, stop: int) -> Self:
        """The rows of a block of consecutive iterations before iteration `stop`."""
        kept = {name: column[: stop - self.start] for name, column in self.columns.items()}
        return replace(self, columns=kept)


@dataclass(frozen=True)
class Snapshot:
    """The model's state after so many updates, copied to the CPU.

    The result lists it with `file` None: only who keeps the state knows where it is.
    """

    iteration: int
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """All that it takes to go on from here.

    Attributes:
        iteration: updates of the job so far that count, counted as the plan does.
        lasting: whether it is to be kept beside the latest ones: at the end of a cycle, or where
            the training was stopped early.
        state: valid until the next event is asked for; its tensors are the live ones.
    """

    iteration: int
    lasting: bool
    state: State


@dataclass(frozen=True)
class Finished:
    """The last event: the job's result, safe to write as JSON."""

    result: dict[str, JsonValue]


@dataclass(frozen=True)
class Standing:
    """Where a training is to be compared with others: the result that it would have, ended here.

    Attributes:
        iteration: updates that the training has made, as its rungs count them.
        result: as that of Finished.
    """

    iteration: int
    result: dict[str, JsonValue]


Event = Plan | Block | Snapshot | Standing | Checkpoint | Finished
