"""What sets the rate of each update: the schedule alone, or with what the training shows."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from schedules import Hypergradient, Plateau, Schedule
from schedules.plateau import PlateauState
from schedules.values import F64, as_rate
from worker.engine.events import State
from worker.engine.hypergradient import LearnedRate
from worker.engine.loop import Rates
from worker.engine.optimizers import family
from worker.engine.recipe import Learner, Recipe


class Looks:
    """The rate of a plateau schedule, between one look at its metric and the next."""

    def __init__(self, schedule: Plateau) -> None:
        self.metric = schedule.metric
        self._schedule = schedule
        self._state = schedule.begin()

    def lr_at(self, t: F64) -> F64:
        """Learning rate at iteration `t`, until the next look."""
        return self._state.lr * self._schedule.warmup_at(t)

    def look(self, metric: float) -> None:
        """Take note of the metric as it is now."""
        self._state = self._schedule.after(self._state, metric)

    def state_dict(self) -> State:
        """What the rule remembers."""
        return asdict(self._state)

    def load_state_dict(self, state: State) -> None:
        """Go on from there."""
        self._state = PlateauState(**state)


def steered(
    schedule: Schedule, iterations: int, *, learner: Learner, recipe: Recipe
) -> tuple[Rates, Looks | LearnedRate | None]:
    """The rates of a run, and what makes them where they depend on how it goes."""
    if not isinstance(schedule, Hypergradient):
        return followed(schedule, iterations)
    learned = LearnedRate(
        learner.optimizer,
        recipe.optimizer,
        lr=as_rate(schedule.lr),
        hyper_lr=schedule.step_for(family(recipe.optimizer)),
    )
    return Rates(iterations, schedule.warmup_at, _own_momentum, learned.adapt), learned


def followed(schedule: Schedule, iterations: int) -> tuple[Rates, Looks | None]:
    """The same for a schedule that does not depend on gradients."""
    if isinstance(schedule, Plateau):
        looks = Looks(schedule)
        return Rates(iterations, looks.lr_at, _own_momentum), looks
    lr_at: Callable[[F64], F64] = partial(schedule.lr_at, iterations=iterations)
    return Rates(iterations, lr_at, partial(schedule.momentum_at, iterations=iterations)), None


def _own_momentum(_t: F64) -> None:
    """The optimizer's."""
