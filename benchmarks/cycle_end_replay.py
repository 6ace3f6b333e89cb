"""Early stopping replayed on finished runs: what a rule keeps, and what it saves."""

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schedules import Schedule
from schedules.values import F64
from spec.sweeps import Stopping
from sweeps.stopping import Rung, Score, decide, rungs, score

ETA = 3


@dataclass(frozen=True)
class Outcome:
    """Means over seeds of what a rule did; `seeds` has kept and regret of each."""

    kept: float
    regret: float
    saved: float
    seeds: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Replayed:
    """What came out for a search.

    Attributes:
        ends: by the cycles that every run may have.
        ordinary: by the iterations that every run may have, in cycles.
        noise: the spread of the best configuration's final loss over seeds, relative to it.
    """

    name: str
    configurations: int
    ends: Mapping[int, Outcome]
    ordinary: Mapping[float, Outcome]
    noise: float


@dataclass(frozen=True)
class Study:
    """Runs of every configuration of a search.

    Attributes:
        values: seed -> the validation losses after each `every` iterations, (configurations, n);
            infinite from where one diverged.
    """

    name: str
    schedules: Sequence[Schedule]
    iterations: int
    every: int
    grace: int
    values: Mapping[int, F64]

    def replayed(self, *, orders: int, parallel: int) -> Replayed:
        """Both rules, on all seeds."""

        def outcome(ladders: Sequence[Sequence[Rung]]) -> Outcome:
            found = []
            for seed, values in self.values.items():
                draws = np.random.default_rng(seed)
                each = [
                    self.once(values, ladders, draws.permutation(len(values)), parallel)
                    for _ in range(orders)
                ]
                found.append(np.mean(each, axis=0))
            kept, regret, saved = np.mean(found, axis=0)
            seeds = tuple((float(each[0]), float(each[1])) for each in found)
            return Outcome(float(kept), float(regret), float(saved), seeds)

        end, step = 3 * self.grace // 2 + 1, self.every
        graces = [*range(self.grace // 2, end, step), *range(end, 5 * self.grace, 2 * step)]
        graces = [r // step * step for r in graces]
        finals = np.array([values[:, -1] for values in self.values.values()])
        best = finals[:, finals.mean(axis=0).argmin()]
        return Replayed(
            self.name,
            len(self.schedules),
            {n: outcome(self.at_ends(n)) for n in (1, 2, 3)},
            {r / self.grace: outcome(self.at_intervals(r)) for r in graces},
            float(best.std(ddof=1) / best.mean()) if len(best) > 1 else math.nan,
        )

    def at_ends(self, grace: int) -> list[list[Rung]]:
        """Where each configuration is compared at the ends of its cycles."""
        rule = Stopping(name="asha", eta=ETA, grace=grace)
        return [rungs(each, self.iterations, rule, 1) for each in self.schedules]

    def at_intervals(self, first: int) -> list[list[Rung]]:
        """Where all are compared after fixed numbers of iterations."""
        points = [first]
        while points[-1] * ETA < self.iterations:
            points.append(points[-1] * ETA)
        ladder = [Rung(each, each // first, "interval") for each in points]
        return [ladder] * len(self.schedules)

    def once(
        self,
        values: F64,
        ladders: Sequence[Sequence[Rung]],
        order: Sequence[int],
        parallel: int,
    ) -> tuple[float, float, float]:
        """Whether the best was kept, regret and share saved, with runs begun in this order."""
        rule = Stopping(name="asha", eta=ETA)
        waiting = list(enumerate(int(each) for each in order))[::-1]
        came: dict[str, list[Score]] = defaultdict(list)
        ended, spent = [], 0
        # when it comes to its next rung or its end, its place in the order, which run it is, and
        # how many rungs it has passed
        going = [
            (self._at(ladders[run], 0), place, run, 0) for place, run in _taken(waiting, parallel)
        ]
        heapq.heapify(going)
        while going:
            now, place, run, passed = heapq.heappop(going)
            here = self._at(ladders[run], passed)
            if passed == len(ladders[run]):
                ended.append(run)
                stop = True
            else:
                rung = ladders[run][passed]
                value = score([float(values[run, here // self.every - 1])], "minimize")
                stop = decide(rule, rung, value, came[rung.place], "minimize").stop
                came[rung.place].append(value)
            if not stop:
                then = self._at(ladders[run], passed + 1)
                heapq.heappush(going, (now + then - here, place, run, passed + 1))
                continue
            spent += here
            for place, new in _taken(waiting, 1):
                heapq.heappush(going, (now + self._at(ladders[new], 0), place, new, 0))
        final = values[:, -1]
        best, kept = final.min(), final[ended].min()
        return float(kept == best), kept / best - 1, 1 - spent / (len(values) * self.iterations)

    def _at(self, ladder: Sequence[Rung], number: int) -> int:
        return ladder[number].iteration if number < len(ladder) else self.iterations


def _taken(waiting: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    return [waiting.pop() for _ in range(min(count, len(waiting)))]
