"""How far a training has come: what it begins from, and what a checkpoint keeps of it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from schedules import Schedule
from spec.jobs import TrainingSpec
from spec.states import Reason
from worker.engine import optimizers
from worker.engine.course import Course
from worker.engine.errors import EngineError
from worker.engine.events import State
from worker.engine.hypergradient import LearnedRate
from worker.engine.loop import Rates
from worker.engine.recipe import Learner, Recipe, start
from worker.engine.state import fitting, learner_state, loaded
from worker.engine.steering import Looks, steered
from worker.engine.validation import Validation
from worker.engine.watch import Watch


@dataclass(frozen=True)
class Progress:
    """All of a training that changes on its way."""

    recipe: Recipe
    schedule: Schedule
    learner: Learner
    rates: Rates
    steering: Looks | LearnedRate | None
    watch: Watch
    validation: Validation

    @classmethod
    def begun(
        cls, spec: TrainingSpec, plan: Course, recipe: Recipe, learner: State | None = None
    ) -> Self:
        """Before the first update; with the state of a `learner`, that goes on."""
        fresh = start(recipe, np.random.SeedSequence(spec.seed))
        own = fresh if learner is None else loaded(fresh, recipe, learner)
        rates, steering = steered(plan.schedule, plan.iterations, learner=own, recipe=recipe)
        means = isinstance(steering, Looks) and steering.metric == "train_loss"
        watch = Watch(recipe.iterations_per_epoch, means=means)
        validation = Validation(own, recipe, snapshots=plan.snapshots, seed=spec.seed)
        return cls(recipe, plan.schedule, own, rates, steering, watch, validation)

    @classmethod
    def resumed(cls, spec: TrainingSpec, plan: Course, recipe: Recipe, state: State) -> Self:
        """Where a checkpoint of this training was taken.

        Raises:
            EngineError: INVALID, it is none of this training.
        """
        if "training" not in state:
            raise EngineError(Reason.INVALID, "the checkpoint is not one of a training")
        before = state["training"]
        with fitting("the checkpoint"):
            found = cls.begun(spec, plan, recipe, before["learner"])
            found.watch.load_state_dict(before["watch"])
            if found.steering is not None:
                found.steering.load_state_dict(before["steering"])
            found.validation.load_state_dict(before["validation"])
        return found

    @classmethod
    def extended(cls, spec: TrainingSpec, plan: Course, recipe: Recipe, state: State) -> Self:
        """A new training where a checkpoint of another was taken.

        What has been learned of the rate, or seen of its metric, only goes on under the same
        schedule.

        Raises:
            EngineError: INVALID, the other has another model or optimizer, or is no shorter.
        """
        if "training" not in state:
            raise EngineError(
                Reason.INVALID,
                "/from: the checkpoint was taken in a range test, which leaves no model to go on"
                " with; take one of a training",
            )
        before = state["training"]
        with fitting("/from: the checkpoint"):
            done = int(before["watch"]["done"])
            if plan.iterations <= done:
                raise EngineError(
                    Reason.INVALID,
                    f"/from: the checkpoint was taken after {done} iterations, which /length counts"
                    f" as well: make it more than the {plan.iterations} that it is",
                )
            found = cls.begun(spec, plan, recipe, before["learner"])
            optimizers.complete(found.learner.optimizer)
            same = before["schedule"] == found.schedule.model_dump(mode="json")
            found.watch.load_state_dict(before["watch"], unread=same)
            if found.steering is not None and same:
                found.steering.load_state_dict(before["steering"])
        return found

    @property
    def looks(self) -> Looks | None:
        """What is to be shown the metric that the rate depends on."""
        return self.steering if isinstance(self.steering, Looks) else None

    def state_dict(self) -> State:
        """For a checkpoint, which is valid until the next update."""
        return training_state(
            self.schedule,
            learner_state(self.learner, self.recipe, done=self.watch.done),
            steering=self.steering,
            watch=self.watch,
            validation=self.validation.state_dict(),
        )


def training_state(
    schedule: Schedule,
    learner: State,
    *,
    steering: Looks | LearnedRate | None,
    watch: Watch,
    validation: State,
) -> State:
    """What the rest of a training depends on, as it stands in a checkpoint."""
    return {
        "training": {
            "schedule": schedule.model_dump(mode="json"),
            "learner": learner,
            "steering": None if steering is None else steering.state_dict(),
            "watch": watch.state_dict(),
            "validation": validation,
        }
    }
