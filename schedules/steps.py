"""Learning rates that fall in steps."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from schedules.schedule import Schedule
from schedules.values import F64, SOME, Bound, Count, Epochs, Gamma, as_iterations, as_rate

_GAMMA = "the factor of each step down"


class Step(Schedule):
    """The rate falls by `gamma` every `step_size` iterations."""

    title: ClassVar[str] = "Step"
    formula: ClassVar[str] = "lr(t) = lr * gamma^floor(t/step_size)"
    source: ClassVar[str] = (
        "https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html"
    )

    policy: Literal["step"] = "step"
    lr: Annotated[Bound, Field(description="the first learning rate")]
    step_size: Annotated[Count, Field(description="from one step down to the next")]
    gamma: Annotated[Gamma, Field(description=_GAMMA)] = 0.1

    def warnings(self, iterations: int) -> list[str]:
        """Also where no step comes."""
        size, run = as_iterations(self.step_size), iterations - self._warmup()
        if size < run:
            return super().warnings(iterations)
        never = f"the rate never steps down: step_size {size} does not come in {run} iterations"
        return [*super().warnings(iterations), never]

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - steps do not know the end
        return as_rate(self.lr) * self.gamma ** (t // as_iterations(self.step_size))


class MultiStep(Schedule):
    """The rate falls by `gamma` at each milestone."""

    title: ClassVar[str] = "Multi-step"
    formula: ClassVar[str] = "lr(t) = lr * gamma^(number of milestones <= t)"
    source: ClassVar[str] = (
        "https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html"
    )

    policy: Literal["multi_step"] = "multi_step"
    lr: Annotated[Bound, Field(description="the first learning rate")]
    milestones: Annotated[
        tuple[Count, ...],
        Field(max_length=1000, description="when it steps down, ascending"),
        *SOME,
    ]
    gamma: Annotated[Gamma, Field(description=_GAMMA)] = 0.1

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, milestones: tuple[int | Epochs, ...]) -> tuple[int | Epochs, ...]:
        for i, (one, other) in enumerate(pairwise(milestones), start=1):
            if _comes_first(other, one):
                raise PydanticCustomError("order", "must not be before the last", {"field": i})
        return milestones

    def warnings(self, iterations: int) -> list[str]:
        """Also which milestones do not come."""
        run = iterations - self._warmup()
        late = [str(each) for each in self._milestones() if each >= run]
        if not late:
            return super().warnings(iterations)
        return [
            *super().warnings(iterations),
            f"milestones that do not come in {run} iterations: {', '.join(late)}",
        ]

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - as above
        passed = np.searchsorted(self._milestones(), t, side="right")
        return as_rate(self.lr) * self.gamma ** passed.astype(np.float64)

    def _milestones(self) -> list[int]:
        return [as_iterations(each) for each in self.milestones]


def _comes_first(one: int | Epochs, other: int | Epochs) -> bool:
    """Whether it surely does: epochs and iterations are compared once they are resolved."""
    match one, other:
        case Epochs(epochs=epochs), Epochs(epochs=others):
            return epochs < others
        case int(), int():
            return one < other
    return False
