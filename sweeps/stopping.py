"""Early stopping: when the jobs of a sweep are compared, and which of them go on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median
from typing import Literal

from schedules.schedule import Schedule
from schedules.values import Epochs
from spec.sweeps import Direction, Stopping

Values = Sequence[float | None]
"""The objective at a job's rungs, the last one where it is now; None or not finite: diverged."""

PARTS = 10
"""A run without cycles and without `every` is compared after each of so many equal parts."""

MOST = 100
"""Comparisons of one job by `median`; a longer one is compared after every 2nd, 4th, ... cycle."""

FEWEST = 4
"""Other jobs that a median is taken of; with fewer, all go on."""


@dataclass(frozen=True)
class Rung:
    """A point of a training at which it is compared with others.

    Attributes:
        iteration: it is there after so many.
        count: so many of `unit` have ended there.
        bracket: of hyperband; 0 for the others.
    """

    iteration: int
    count: int
    unit: Literal["cycle", "interval", "part"]
    bracket: int = 0

    @property
    def place(self) -> str:
        """The same for all jobs that are compared here, as `0/cycle/9`."""
        return f"{self.bracket}/{self.unit}/{self.count}"

    @property
    def after(self) -> str:
        """Where it is, for people."""
        name = {"cycle": "cycle", "interval": "interval", "part": "tenth"}[self.unit]
        run = " of the run" if self.unit == "part" else ""
        return f"after {self.count} {name}{'' if self.count == 1 else 's'}{run}"


@dataclass(frozen=True)
class Score:
    """How a job stands at a rung; what is not finite is None.

    Attributes:
        value: of the objective there.
        best: of its values at all its rungs so far.
        mean: of the same; None where any of them is.
    """

    value: float | None
    best: float | None
    mean: float | None


@dataclass(frozen=True)
class Decision:
    """Whether a job ends here, and a sentence that says why."""

    stop: bool
    why: str


def rungs(
    schedule: Schedule,
    iterations: int,
    stopping: Stopping,
    iterations_per_epoch: int,
    *,
    trial: int = 0,
) -> list[Rung]:
    """Where a training of so many iterations is compared, in order; never where it ends anyway.

    A schedule with cycles is compared at their ends only, `every` or not, and not at all before
    the first whole one; one without after each `every`, else after each tenth of its run.
    `median` compares after each from `grace` on, `asha` after `grace * eta^k` of them (Li et al.,
    arXiv 1810.05934). `hyperband` (Li et al., JMLR 18, 2018) runs asha in brackets: bracket b
    leaves the first b of those out and the last one leaves out all, so that what is slow to show
    is not always stopped; its trial says which bracket a job is in.

    All counts of the schedule are in iterations; `trial` is the number of the job in its sweep.

    Raises:
        UnresolvedError: the schedule still has counts in epochs.
    """
    unit, ends = _ends(schedule, iterations, stopping, iterations_per_epoch)
    ladder: Sequence[int]
    if stopping.name == "median":
        stride = 1
        while ends.count // stride > MOST:
            stride *= 2
        ladder = range(-(-stopping.grace // stride) * stride, ends.count + 1, stride)
    else:
        ladder = _powers(stopping, ends.count)
    found = [Rung(ends.at(n), n, unit) for n in ladder]
    found = [rung for rung in found if rung.iteration < iterations]
    if stopping.name != "hyperband":
        return found
    bracket = bracket_of(trial, brackets=len(found) + 1, eta=stopping.eta)
    return [Rung(rung.iteration, rung.count, unit, bracket) for rung in found[bracket:]]


def bracket_of(trial: int, *, brackets: int, eta: int) -> int:
    """The bracket of a trial: in the proportions of Hyperband, evenly mixed from the start.

    Of `S + 1` brackets the one with s comparisons gets `ceil((S + 1) / (s + 1) * eta^s)` jobs of
    each round (Li et al., JMLR 18, 2018, algorithm 1).

    >>> [bracket_of(trial, brackets=3, eta=3) for trial in range(17)]
    [0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1, 0]
    """
    pattern = _pattern(brackets, eta)
    return pattern[trial % len(pattern)]


def score(values: Values, direction: Direction) -> Score:
    """What a job's values at its rungs come to.

    >>> score([0.75, 0.5, 0.625], "minimize")
    Score(value=0.625, best=0.5, mean=0.625)

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("give the job's values up to this rung: its value here is missing")
    known = [each for each in values if each is not None and math.isfinite(each)]
    last = values[-1]
    return Score(
        value=last if last is not None and math.isfinite(last) else None,
        best=(min if direction == "minimize" else max)(known, default=None),
        mean=_mean(known) if len(known) == len(values) else None,
    )


def decide(
    stopping: Stopping,
    rung: Rung,
    own: Score,
    others: Sequence[Score],
    direction: Direction,
) -> Decision:
    """Whether a job that has come to a rung goes on.

    One that has diverged does not.

    `asha` and `hyperband`: the best 1/eta of all that have come to this rung so far go on (Li et
    al., arXiv 1810.05934, where a rung promotes its first floor(n/eta), some of them late; here
    nothing waits and the rank on arrival counts: early ones have it easier, or harder if better
    ones came before). All go on while there are fewer than eta; equal values have equal ranks.

    `median`: a job stops whose best value so far is worse than the median of the others' running
    means (Golovin et al., Vizier, KDD 2017, section 3.2.2). The paper takes the others from
    completed jobs; here they are all that have come to this rung, else jobs that run side by side
    would never be compared.

    The best at a rung never stops.

    `others` are the scores of every other job that has come to a rung of the same `place`, at that
    rung, whatever became of it later.
    """
    sign = 1 if direction == "minimize" else -1
    value = _cost(own.value, sign)
    if value == math.inf:
        return Decision(stop=True, why=f"stopped: it has diverged {rung.after}")
    values = [_cost(each.value, sign) for each in others]
    if stopping.name != "median":
        return _by_rank(rung, value, values, sign, stopping.eta)
    if len(others) < FEWEST:
        detail = f"only {len(others)} of at least {FEWEST} others to compare came here"
        return Decision(stop=False, why=f"goes on {rung.after}: {detail}")
    best, middle = _cost(own.best, sign), median(_cost(each.mean, sign) for each in others)
    if best > middle and value <= min(values):
        detail = f"{sign * value:.4g} is the best of {len(others) + 1} here"
        return Decision(stop=False, why=f"goes on {rung.after}: {detail}")
    said = "others have mostly diverged" if middle == math.inf else f"{sign * middle:.4g}"
    count = len(others)
    detail = f"its best, {sign * best:.4g}, against {said}, the median of {count} others' means"
    stop = best > middle
    return Decision(stop=stop, why=f"{'stopped' if stop else 'goes on'} {rung.after}: {detail}")


@dataclass(frozen=True)
class _Ends:
    """The points that may be compared at: the n-th after `at(n)` iterations, 1 <= n <= count."""

    schedule: Schedule | None
    iterations: int
    every: int | None
    count: int

    def at(self, n: int) -> int:
        if self.schedule is not None:
            return self.schedule.cycle_end(n, iterations=self.iterations) or self.iterations
        return n * self.iterations // PARTS if self.every is None else n * self.every


def _ends(
    schedule: Schedule, iterations: int, stopping: Stopping, iterations_per_epoch: int
) -> tuple[Literal["cycle", "interval", "part"], _Ends]:
    if schedule.has_cycles:
        whole = schedule.whole_cycles(iterations)
        return "cycle", _Ends(schedule, iterations, None, whole)
    if stopping.every is None:
        return "part", _Ends(None, iterations, None, PARTS if iterations >= PARTS else 0)
    interval = stopping.every
    if isinstance(interval, Epochs):
        every = interval.iterations(iterations_per_epoch)
    else:
        every = interval.iterations
    return "interval", _Ends(None, iterations, every, iterations // every)


def _powers(stopping: Stopping, most: int) -> list[int]:
    found, n = [], stopping.grace
    while n <= most:
        found.append(n)
        n *= stopping.eta
    return found


@lru_cache(maxsize=64)
def _pattern(brackets: int, eta: int) -> tuple[int, ...]:
    """One round of trials: each next one goes to the bracket that is furthest behind its share."""
    sizes = [-(-brackets * eta**s // (s + 1)) for s in reversed(range(brackets))]
    total, given, pattern = sum(sizes), [0] * brackets, list[int]()
    for done in range(1, total + 1):
        behind = [size * done - total * have for size, have in zip(sizes, given, strict=True)]
        bracket = behind.index(max(behind))
        given[bracket] += 1
        pattern.append(bracket)
    return tuple(pattern)


def _cost(value: float | None, sign: int) -> float:
    """Of which less is better; infinite where there is none."""
    return math.inf if value is None else sign * value


def _by_rank(rung: Rung, own: float, rest: list[float], sign: int, eta: int) -> Decision:
    total = len(rest) + 1
    if total < eta:
        detail = f"{_jobs(total)} of at least {eta} to compare came here"
        return Decision(stop=False, why=f"goes on {rung.after}: only {detail}")
    rank, first = 1 + sum(each < own for each in rest), total // eta
    stop = rank > first
    kept = "only the best goes" if first == 1 else f"the best {first} go"
    detail = f"{sign * own:.4g} is number {rank} of {total}, and {kept} on"
    return Decision(stop=stop, why=f"{'stopped' if stop else 'goes on'} {rung.after}: {detail}")


def _mean(values: Sequence[float]) -> float:
    # of equal values the mean is that value, whatever rounding makes of it
    return min(max(fmean(each / 2 for each in values) * 2, min(values)), max(values))


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
