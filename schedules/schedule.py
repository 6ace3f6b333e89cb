"""What every learning-rate policy answers: its rate at any iteration, without hidden state."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from schedules.values import F64, Count, Epochs, FromRangeTest, Value, as_iterations

Suggested = Literal["base_lr", "max_lr", "fixed_lr"]
"""The learning rates that a range test suggests."""

SUGGESTED: Mapping[str, Suggested] = {
    "base_lr": "base_lr",
    "max_lr": "max_lr",
    "lr": "fixed_lr",
}
"""Field of a schedule -> which suggestion it takes.

A rate that a run climbs to may be higher than one that it begins with: the loss of a fresh model
is more curved.
"""


@dataclass(frozen=True)
class Reference:
    """A rate that a schedule takes from a range test.

    Attributes:
        pointer: JSON pointer from the schedule to the rate, such as `/max_lr`.
        range_test: the job id, or `auto`.
        suggested: which of the suggested rates it takes.
    """

    pointer: str
    range_test: str
    suggested: Suggested


class Schedule(Value, ABC):
    """One policy with its parameters.

    A subclass is a pydantic model with a literal `policy` and a pure, vectorised `_lr_at`.
    Rates may name a range test and counts may be in epochs until `with_rates` and `resolve` have
    replaced them. A `stateful` policy reacts to what it sees; `lr_at` is then its rate as long as
    it sees nothing.
    """

    title: ClassVar[str]
    formula: ClassVar[str]
    """In lines; t counts the iterations of a run of N from 0, both without the warm-up."""
    source: ClassVar[str]
    stateful: ClassVar[bool] = False
    cyclical: ClassVar[bool] = False
    """Whether it may have cycles."""

    policy: str
    warmup: Annotated[
        Count | None,
        Field(
            description="so many iterations of linear warm-up before it, (t+1)/warmup of the rate"
            " that it begins with"
        ),
    ] = None

    def lr_at(self, t: ArrayLike, *, iterations: int) -> F64:
        """Learning rate at iteration `t` (any shape, counted from 0) of a run of `iterations`.

        `t` beyond the last iteration is clamped to it.
        """
        t, shape, warmup = _clamped(t, iterations), np.shape(t), self._warmup()
        lr = self._lr_at(np.maximum(t - warmup, 0), max(1, iterations - warmup))
        return (lr * self.warmup_at(t)).reshape(shape)

    def warmup_at(self, t: F64) -> F64:
        """What warm-up leaves of the rate at iteration `t`: (t+1)/warmup, then 1."""
        return np.minimum(1, (t + 1) / max(1, self._warmup()))

    def momentum_at(self, t: ArrayLike, *, iterations: int) -> F64 | None:
        """Momentum at iteration `t`, or None when the policy leaves the optimizer's own."""
        t, shape, warmup = _clamped(t, iterations), np.shape(t), self._warmup()
        momentum = self._momentum_at(np.maximum(t - warmup, 0), max(1, iterations - warmup))
        return None if momentum is None else momentum.reshape(shape)

    def cycle_end(self, n: int, *, iterations: int | None = None) -> int | None:
        """After how many iterations the n-th cycle (n >= 1) ends, or None when there is none.

        A policy that divides its run into cycles has them only with the `iterations` of the run.
        """
        inner = None if iterations is None else max(1, iterations - self._warmup())
        end = self._cycle_end(n, inner)
        return None if end is None else end + self._warmup()

    def whole_cycles(self, iterations: int) -> int:
        """How many cycles end within a run of `iterations`."""

        def within(n: int) -> bool:
            end = self.cycle_end(n, iterations=iterations)
            return end is not None and end <= iterations

        high = 1
        while within(high):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if within(middle) else (low, middle)
        return low

    def warnings(self, iterations: int) -> list[str]:
        """What is odd about a run of `iterations` under this schedule, in sentences."""
        if self._warmup() >= iterations:
            return [
                f"the run ends within its warm-up: {iterations} iterations, warmup {self._warmup()}"
            ]
        n = self.whole_cycles(iterations)
        following = self.cycle_end(n + 1, iterations=iterations)
        last = self.cycle_end(n, iterations=iterations) if n else self._warmup()
        if following is None or last == iterations:
            return []
        cut = f"the run stops inside a cycle: {iterations} iterations, and cycle {n + 1} ends at"
        return [f"{cut} {following}; stop there to end with a whole one"]

    @property
    def has_cycles(self) -> bool:
        """Whether a run under it may end, or be saved, at the ends of cycles."""
        return self.cyclical

    @abstractmethod
    def _lr_at(self, t: F64, iterations: int) -> F64: ...

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:  # noqa: ARG002 - cyclical ones use both
        return None

    def _cycle_end(self, n: int, iterations: int | None) -> int | None:  # noqa: ARG002 - as above
        return None

    def references(self) -> list[Reference]:
        """Every rate that is to come from a range test."""
        return [
            Reference(pointer, rate.range_test, SUGGESTED[pointer.rpartition("/")[2]])
            for pointer, rate in _leaves(self)
            if isinstance(rate, FromRangeTest)
        ]

    def with_rates(self, rates: Mapping[str, float]) -> Self:
        """The same schedule with numbers at the given pointers, validated again."""
        return self._replace(rates)

    def resolve(self, *, iterations_per_epoch: int) -> Self:
        """The same schedule with every count in iterations."""
        return self._replace(
            {
                pointer: count.iterations(iterations_per_epoch)
                for pointer, count in _leaves(self)
                if isinstance(count, Epochs)
            }
        )

    def in_epochs(self) -> bool:
        """Whether a count is still in epochs."""
        return any(isinstance(value, Epochs) for _, value in _leaves(self))

    def _warmup(self) -> int:
        return 0 if self.warmup is None else as_iterations(self.warmup)

    def _replace(self, changes: Mapping[str, float]) -> Self:
        if not changes:
            return self
        fields: dict[str, Any] = self.model_dump(mode="json")
        for pointer, number in changes.items():
            *path, last = pointer.removeprefix("/").split("/")
            place: Any = fields
            for key in path:
                place = place[int(key) if isinstance(place, list) else key]
            place[int(last) if isinstance(place, list) else last] = number
        return self.model_validate(fields)


def _leaves(value: object, pointer: str = "") -> Iterator[tuple[str, object]]:
    """Pointer and value of everything inside, references left whole."""
    if isinstance(value, Value) and not isinstance(value, Epochs | FromRangeTest):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), f"{pointer}/{name}")
    elif isinstance(value, tuple):
        for i, each in enumerate(value):
            yield from _leaves(each, f"{pointer}/{i}")
    else:
        yield pointer, value


def _clamped(t: ArrayLike, iterations: int) -> F64:
    # always an array: powers and cosines of a lone number come from other code, which may differ
    # in the last bit
    return np.clip(np.asarray(t, dtype=np.float64).ravel(), 0, iterations - 1)
