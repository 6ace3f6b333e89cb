"""One cycle over the whole run: up, down, and far below where it began."""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schedules.schedule import Schedule
from schedules.shapes import cosine
from schedules.values import F64, Bound, Momentum, as_rate, check_momenta

Divisor = Annotated[float, Field(strict=True, ge=1, le=1e12)]


class OneCycle(Schedule):
    """Up to the peak and down again once, with momentum the other way round (torch's form).

    The ends of the phases are fractions of iterations, as in torch.
    """

    title: ClassVar[str] = "One cycle"
    formula: ClassVar[str] = """\
low = max_lr/div_factor, end = low/final_div_factor, e1 = pct_start*N - 1
t <= e1: from low to max_lr, p = t/e1
t > e1: from max_lr to end, p = (t-e1)/(N-1-e1)
three_phase, with e2 = 2*pct_start*N - 2: from max_lr to low until e2, p = (t-e1)/(e2-e1);
then from low to end, p = (t-e2)/(N-1-e2)
from a to b: cos: lr = b + (a-b)*(1+cos(pi*p))/2, linear: lr = a + (b-a)*p
momentum: likewise from max_momentum to base_momentum, back, and there for the rest"""
    source: ClassVar[str] = "https://arxiv.org/abs/1708.07120"

    policy: Literal["one_cycle"] = "one_cycle"
    max_lr: Annotated[Bound, Field(description="the learning rate at the peak")]
    pct_start: Annotated[
        float, Field(strict=True, ge=0, le=1, description="the share of the run that climbs")
    ] = 0.3
    anneal_strategy: Annotated[
        Literal["cos", "linear"], Field(description="the shape of each phase")
    ] = "cos"
    div_factor: Annotated[Divisor, Field(description="max_lr / the first learning rate")] = 25.0
    final_div_factor: Annotated[
        Divisor, Field(description="the first learning rate / the last one")
    ] = 1e4
    three_phase: Annotated[
        bool,
        Field(strict=True, description="come down as slowly as it went up, then anneal"),
    ] = False
    base_momentum: Annotated[
        Momentum | None,
        Field(description="momentum where the learning rate peaks; both null: not cycled"),
    ] = 0.85
    max_momentum: Annotated[
        Momentum | None,
        Field(description="momentum where the run begins and ends; both null: not cycled"),
    ] = 0.95

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_momenta(self.base_momentum, self.max_momentum)
        if self.three_phase and self.pct_start > 0.5:  # noqa: PLR2004 - two phases of pct_start each
            raise PydanticCustomError(
                "phases", "must be <= 0.5 with three_phase", {"field": "pct_start"}
            )
        return self

    def _lr_at(self, t: F64, iterations: int) -> F64:
        top = as_rate(self.max_lr)
        low = top / self.div_factor
        return self._through(low, top, low / self.final_div_factor, t, iterations)

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:
        low, high = self.base_momentum, self.max_momentum
        if low is None or high is None:
            return None
        return self._through(high, low, high, t, iterations)

    def _through(self, first: float, middle: float, last: float, t: F64, iterations: int) -> F64:
        """From `first` to `middle`, (back to `first`,) and on to `last`."""
        rise = self.pct_start * iterations - 1
        values, ends = [first, middle, last], [0.0, rise, iterations - 1]
        if self.three_phase:
            values, ends = [first, middle, first, last], [0.0, rise, 2 * rise, iterations - 1]
        phase: NDArray[np.intp] = np.sum([t > end for end in ends[1:-1]], axis=0)
        begin, length = np.array(ends)[phase], np.diff(ends)[phase]
        # a run may be too short for a phase of its own; torch divides by zero there
        p: F64 = np.divide(t - begin, length, out=np.ones_like(t), where=length != 0)
        a: F64 = np.array(values)[phase]
        b: F64 = np.array(values)[phase + 1]
        if self.anneal_strategy == "linear":
            return (b - a) * p + a
        return b + (a - b) * cosine(p)
