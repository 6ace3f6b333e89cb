"""What every learning-rate policy answers: its rate at any iteration, without hidden state."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from schedules.values import F64, Epochs, FromRangeTest, Value


class Schedule(Value, ABC):
    """One policy with its parameters.

    A subclass is a pydantic model with a literal `policy` and a pure, vectorised `_lr_at`.
    Bounds may name a range test and counts may be in epochs until `resolve` has replaced them.
    """

    title: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    cyclical: ClassVar[bool] = False

    policy: str

    def lr_at(self, t: ArrayLike, *, iterations: int) -> F64:
        """Learning rate at iteration `t` (any shape, counted from 0) of a run of `iterations`.

        `t` beyond the last iteration is clamped to it.
        """
        return self._lr_at(_clamped(t, iterations), iterations).reshape(np.shape(t))

    def momentum_at(self, t: ArrayLike, *, iterations: int) -> F64 | None:
        """Momentum at iteration `t`, or None when the policy leaves the optimizer's own."""
        momentum = self._momentum_at(_clamped(t, iterations), iterations)
        return None if momentum is None else momentum.reshape(np.shape(t))

    def cycle_length(self) -> int | None:
        """Iterations in one cycle, or None for a policy without cycles."""
        return None

    @abstractmethod
    def _lr_at(self, t: F64, iterations: int) -> F64: ...

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:  # noqa: ARG002 - cyclical ones use both
        return None

    def range_tests(self) -> dict[str, str]:
        """Field name -> job id of every bound that is to come from a range test."""
        return {
            name: value.range_test
            for name, value in self._fields().items()
            if isinstance(value, FromRangeTest)
        }

    def with_bounds(self, bounds: Mapping[str, float]) -> Self:
        """The same schedule with the named fields replaced by numbers, validated again."""
        return self._replace(bounds)

    def resolve(self, *, iterations_per_epoch: int) -> Self:
        """The same schedule with every count in iterations."""
        return self._replace(
            {
                name: value.iterations(iterations_per_epoch)
                for name, value in self._fields().items()
                if isinstance(value, Epochs)
            },
        )

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def _replace(self, changes: Mapping[str, float]) -> Self:
        return self.model_validate({**self.model_dump(), **changes}) if changes else self


def _clamped(t: ArrayLike, iterations: int) -> F64:
    # always an array: powers and cosines of a lone number come from other code, which may differ
    # in the last bit
    return np.clip(np.asarray(t, dtype=np.float64).ravel(), 0, iterations - 1)
