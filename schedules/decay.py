"""Learning rates that fall all the way, from the first iteration on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schedules.schedule import Schedule
from schedules.shapes import progress
from schedules.values import F64, Bound, Floor, Gamma, as_rate

First = Annotated[Bound, Field(description="the first learning rate, and the highest")]
Last = Annotated[Floor, Field(description="the last learning rate")]


class Exponential(Schedule):
    """The rate falls by the same factor at every iteration."""

    title: ClassVar[str] = "Exponential"
    formula: ClassVar[str] = "lr(t) = lr * gamma^t"
    source: ClassVar[str] = (
        "https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html"
    )

    policy: Literal["exponential"] = "exponential"
    lr: First
    gamma: Annotated[Gamma, Field(description="the factor of each iteration")]

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - it does not know the end
        return as_rate(self.lr) * self.gamma**t


class Polynomial(Schedule):
    """The rate falls as a power of what is left of the run."""

    title: ClassVar[str] = "Polynomial"
    formula: ClassVar[str] = "p = t/(N-1)\nlr(t) = (lr-end_lr)*(1-p)^power + end_lr"
    source: ClassVar[str] = "https://arxiv.org/abs/1606.00915"

    policy: Literal["polynomial"] = "polynomial"
    lr: First
    end_lr: Last = 0.0
    power: Annotated[
        float, Field(strict=True, gt=0, le=100, description="1 is a straight line")
    ] = 1.0

    def _lr_at(self, t: F64, iterations: int) -> F64:
        left = (1 - progress(t, iterations)) ** self.power
        return (as_rate(self.lr) - self.end_lr) * left + self.end_lr


class Linear(Schedule):
    """The rate falls along a straight line, to zero unless told otherwise."""

    title: ClassVar[str] = "Linear"
    formula: ClassVar[str] = "p = t/(N-1)\nlr(t) = (lr-end_lr)*(1-p) + end_lr"
    source: ClassVar[str] = "https://arxiv.org/abs/2502.15938"

    policy: Literal["linear"] = "linear"
    lr: First
    end_lr: Last = 0.0

    def _lr_at(self, t: F64, iterations: int) -> F64:
        left = 1 - progress(t, iterations)
        return (as_rate(self.lr) - self.end_lr) * left + self.end_lr


class Rex(Schedule):
    """The rate falls slowly at first and steeply at the end (reflected exponential)."""

    title: ClassVar[str] = "REX"
    formula: ClassVar[str] = "p = t/(N-1)\nlr(t) = lr * (1-p)/(1/2+(1-p)/2)"
    source: ClassVar[str] = "https://arxiv.org/abs/2107.04197"

    policy: Literal["rex"] = "rex"
    lr: First

    def _lr_at(self, t: F64, iterations: int) -> F64:
        left = 1 - progress(t, iterations)
        return as_rate(self.lr) * (left / (1 / 2 + left / 2))
