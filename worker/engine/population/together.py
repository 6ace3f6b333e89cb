"""Repeats of a range test that climb the ramp together, as one program."""

from collections.abc import Iterator, Sequence

import numpy as np

from schedules.values import F64
from worker.engine.events import Block
from worker.engine.loop import Pace
from worker.engine.population.stack import Stack, paced
from worker.engine.recipe import Learner
from worker.engine.repeat import Repeat


class Together:
    """Trains several repeats in step."""

    learner: Learner | None = None

    def __init__(self, repeats: Sequence[Repeat], stack: Stack, *, pace: Pace) -> None:
        """The stack has a run for each repeat."""
        self._every = repeats[0].every
        self._going = list(repeats)
        self._stack = stack
        self._seconds, self._longest = pace.first, pace.longest

    def climb(self, rates: F64, going: Sequence[Repeat]) -> Iterator[Block]:
        """Go on with these repeats to the end of the ramp, each until divergence is confirmed."""
        self._keep(going)
        every, done = self._every, max(each.done for each in going)
        for stop in _stops(done, rates.size, every):
            while self._going and done < stop:
                lr = rates[done:stop]
                wide = np.repeat(lr[:, None], len(self._going), axis=1)
                columns = paced(self._stack, wide, np.full(wide.shape, np.nan), self._seconds)
                self._seconds = min(2 * self._seconds, self._longest)
                rows = len(columns["loss"])
                for i, repeat in enumerate(self._going):
                    mine = {name: column[:, i] for name, column in columns.items()}
                    block = Block("train", repeat.index, done, mine | {"lr": lr[:rows]})
                    yield repeat.take(block, rates)
                self._keep([each for each in self._going if not each.diverged])
                done += rows
            if self._going and every and done % every == 0:
                found = self._stack.evaluate(done)
                for repeat, evaluation in zip(self._going, found, strict=True):
                    yield repeat.evaluated(evaluation)

    def _keep(self, going: Sequence[Repeat]) -> None:
        positions = [i for i, each in enumerate(self._going) if each in going]
        self._going = [self._going[i] for i in positions]
        if positions:
            self._stack.keep(positions)


def _stops(done: int, end: int, every: int | None) -> list[int]:
    """The evaluations after so many updates, and the end of the ramp."""
    first = end if every is None else (done // every + 1) * every
    return [*range(first, end, every or end), end]
