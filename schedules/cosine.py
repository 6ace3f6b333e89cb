"""Learning rates that fall along a cosine: once, or again and again with warm restarts."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.shapes import cosine, progress
from schedules.values import F64, Bound, Count, Floor, as_iterations, as_rate

Highest = Annotated[Bound, Field(description="the highest learning rate")]
Lowest = Annotated[Floor, Field(description="the lowest learning rate")]
_FAR = 64
"""Cycles that grow end beyond any run by then; their ends are still numbers that can be shown."""


class Cosine(Schedule):
    """The rate falls along half a cosine wave over the whole run."""

    title: ClassVar[str] = "Cosine"
    formula: ClassVar[str] = "p = t/(N-1)\nlr(t) = min_lr + (lr-min_lr)*(1+cos(pi*p))/2"
    source: ClassVar[str] = "https://arxiv.org/abs/1608.03983"

    policy: Literal["cosine"] = "cosine"
    lr: Highest
    min_lr: Lowest = 0.0

    def _lr_at(self, t: F64, iterations: int) -> F64:
        height = as_rate(self.lr) - self.min_lr
        return self.min_lr + height * cosine(progress(t, iterations))


class FlatCosine(Schedule):
    """The rate stays where it is, and falls to zero along half a cosine wave at the end."""

    title: ClassVar[str] = "Flat cosine"
    formula: ClassVar[str] = (
        "s = round(pct_start*N)\nt < s: lr\nt >= s: lr*(1+cos(pi*p))/2, p = (t-s)/(N-1-s)"
    )
    source: ClassVar[str] = "https://docs.fast.ai/callback.schedule.html#learner.fit_flat_cos"

    policy: Literal["flat_cosine"] = "flat_cosine"
    lr: Highest
    pct_start: Annotated[
        float, Field(strict=True, ge=0, le=1, description="the share of the run that is flat")
    ] = 0.72

    def _lr_at(self, t: F64, iterations: int) -> F64:
        flat = round(self.pct_start * iterations)
        return as_rate(self.lr) * cosine(progress(np.maximum(t - flat, 0), iterations - flat))


class Sgdr(Schedule):
    """Cosine with warm restarts: cycles that each begin at the top, each `t_mult` times longer."""

    title: ClassVar[str] = "SGDR"
    formula: ClassVar[str] = (
        "cycle i = 0, 1, ... is t_0*t_mult^i iterations long\n"
        "p = (t - its start) / its length\n"
        "lr(t) = min_lr + (lr-min_lr)*(1+cos(pi*p))/2"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1608.03983"
    cyclical: ClassVar[bool] = True

    policy: Literal["sgdr"] = "sgdr"
    lr: Highest
    min_lr: Lowest = 0.0
    t_0: Annotated[Count, Field(description="length of the first cycle")]
    t_mult: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="length of a cycle / the one before")
    ] = 1

    def _cycle_end(self, n: int, iterations: int | None) -> int:  # noqa: ARG002 - it does not know the end
        first, m = as_iterations(self.t_0), self.t_mult
        return first * n if m == 1 else first * (m ** min(n, _FAR) - 1) // (m - 1)

    def _lr_at(self, t: F64, iterations: int) -> F64:
        height = as_rate(self.lr) - self.min_lr
        return self.min_lr + height * cosine(self._phase(t, iterations))

    def _phase(self, t: F64, iterations: int) -> F64:
        first = as_iterations(self.t_0)
        if self.t_mult == 1:
            return t % first / first
        starts = [0]
        while starts[-1] < iterations:
            starts.append(self._cycle_end(len(starts), None))
        # whole numbers are compared: a logarithm would find the wrong cycle at some restarts
        cycle = np.searchsorted(starts, t, side="right") - 1
        start, length = np.array(starts, dtype=np.float64), np.diff(starts).astype(np.float64)
        phase: F64 = (t - start[cycle]) / length[cycle]
        return phase


class Snapshot(Schedule):
    """The run in equal cosine cycles that each fall to zero, where snapshots are worth taking."""

    title: ClassVar[str] = "Snapshot ensemble"
    formula: ClassVar[str] = (
        "C = ceil(N/cycles)\nlr(t) = lr*(1+cos(pi*(t mod C)/C))/2 (the paper counts t from 1)"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1704.00109"
    cyclical: ClassVar[bool] = True

    policy: Literal["snapshot"] = "snapshot"
    lr: Highest
    cycles: Annotated[
        int, Field(strict=True, ge=1, le=100_000, description="how many cycles the run has")
    ]

    def warnings(self, iterations: int) -> list[str]:
        """Where the last cycle is cut so short that its rate stays high."""
        run = max(1, iterations - self._warmup())
        length = self._length(run)
        last = run % length
        found = super().warnings(iterations)
        if -(-run // length) < self.cycles:
            found.append(f"{run} iterations are too few for {self.cycles} cycles")
        elif last and last < 0.9 * length:
            found.append(
                f"the last cycle has {last} of {length} iterations; a run that is a multiple of"
                f" {self.cycles} iterations long ends with a whole one"
            )
        return found

    def _cycle_end(self, n: int, iterations: int | None) -> int | None:
        if iterations is None:
            return None
        length = self._length(iterations)
        return min(n * length, iterations) if (n - 1) * length < iterations else None

    def _lr_at(self, t: F64, iterations: int) -> F64:
        length = self._length(iterations)
        return as_rate(self.lr) * cosine(t % length / length)

    def _length(self, iterations: int) -> int:
        return -(-iterations // self.cycles)
