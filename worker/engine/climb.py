"""How far a range test has come: its repeats, and what a checkpoint keeps of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from schedules.values import F64
from spec.jobs import RangeTestSpec
from spec.states import Reason
from worker.engine.checks import Checks
from worker.engine.errors import EngineError
from worker.engine.events import Block, Checkpoint, State
from worker.engine.loop import Pace
from worker.engine.population.stack import Stack
from worker.engine.population.together import Together
from worker.engine.recipe import Recipe, start
from worker.engine.repeat import Alone, Climber, Repeat
from worker.engine.state import fitting, learner_state, loaded


@dataclass
class Climb:
    """All of a range test that changes on its way.

    Attributes:
        every: after so many updates repeats are evaluated; None for never.
        iterations: how many updates there are to be, those of repeats that diverge included.
        checks: of the first repeat, if there are any.
        repeats: those that have begun.
        extended: how often the ramp has been made longer.
        under_way: a learner's state with which the last repeat is to go on.
    """

    every: int | None
    iterations: int
    checks: Checks | None
    repeats: list[Repeat] = field(default_factory=list)
    extended: int = 0
    under_way: State | None = None

    @property
    def done(self) -> int:
        """Updates that count."""
        return sum(each.done for each in self.repeats)

    def resume(self, recipe: Recipe, state: State) -> None:
        """Go on where a checkpoint of this range test was taken.

        Raises:
            EngineError: INVALID, it is none of this range test.
        """
        if "range_test" not in state:
            raise EngineError(Reason.INVALID, "the checkpoint is not one of a range test")
        with fitting("the checkpoint"):
            before = state["range_test"]
            self.extended, self.iterations = before["extended"], before["iterations"]
            self.under_way = before["learner"]
            for i, kept in enumerate(before["repeats"]):
                self.repeats.append(Repeat(i, recipe, self.every))
                self.repeats[-1].load_state_dict(kept)
            if self.checks is not None:
                self.checks.load_state_dict(before["checks"])

    def following(
        self, spec: RangeTestSpec, recipe: Recipe, *, pace: Pace, together: int
    ) -> tuple[list[Repeat], Climber] | None:
        """The next repeats, at most so many `together`, and what trains them; None after all."""
        seeds = np.random.SeedSequence(spec.seed).spawn(spec.repeats)
        begun = len(self.repeats)
        if self.under_way is not None:
            with fitting("the checkpoint"):
                learner = loaded(start(recipe, seeds[begun - 1]), recipe, self.under_way)
            self.under_way, group = None, self.repeats[-1:]
        elif begun < spec.repeats:
            starting = seeds[begun : begun + together]
            group = [Repeat(begun + i, recipe, self.every) for i in range(len(starting))]
            self.repeats += group
            if len(group) > 1:
                stack = Stack(recipe, [recipe.optimizer] * len(group), starting)
                return group, Together(group, stack, pace=pace)
            learner = start(recipe, starting[0])
        else:
            return None
        checks = None if group[0].index else self.checks
        return group, Alone(learner, pace=pace, checks=checks)

    def up(
        self, climber: Climber, rates: F64, going: Sequence[Repeat], due: Callable[[], bool]
    ) -> Iterator[Block | Checkpoint]:
        """The blocks of these repeats on their way up; after each of a single one a checkpoint."""
        for block in climber.climb(rates, going):
            yield block
            if climber.learner is not None and block.series == "train" and due():
                yield self.checkpoint(climber)

    def checkpoint(self, climber: Climber) -> Checkpoint:
        """As it is now."""
        learner, last = climber.learner, self.repeats[-1]
        state = {
            "repeats": [each.state_dict() for each in self.repeats],
            "extended": self.extended,
            "iterations": self.iterations,
            "checks": None if self.checks is None else self.checks.state_dict(),
            "learner": learner and learner_state(learner, last.recipe, done=last.done),
        }
        return Checkpoint(self.done, lasting=False, state={"range_test": state})
