"""What a running job hands over: its plan, then blocks of numbers, then its result."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from schedules import Schedule

Columns = dict[str, NDArray[np.generic]]
"""Series name -> one value per row; all of a block's columns are equally long."""


@dataclass(frozen=True)
class Plan:
    """The first event: how much there is to do, and how it will be done.

    `iterations` counts the updates of all repeats; `schedule` has every count in iterations, and
    is None for a range test.
    """

    iterations: int
    iterations_per_epoch: int
    schedule: Schedule | None
    notes: dict[str, JsonValue]


@dataclass(frozen=True)
class Block:
    """Rows of recorded numbers.

    A train block holds consecutive iterations from `start`: loss, lr, and what else the job
    records. A validation block names its iterations (updates done) in a column, and `start` is
    the first of them.
    """

    series: Literal["train", "validation"]
    repeat: int
    start: int
    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def until(self, stop: int) -> Self:
        """The rows of a train block before iteration `stop`."""
        kept = {name: column[: stop - self.start] for name, column in self.columns.items()}
        return replace(self, columns=kept)


@dataclass(frozen=True)
class Finished:
    """The last event: the job's result, safe to write as JSON."""

    result: dict[str, JsonValue]


Event = Plan | Block | Finished
