"""A training from plan to result: updates, evaluations, and the early end of a diverged one."""

from collections.abc import Iterator

import numpy as np
from pydantic import JsonValue

from spec.jobs import TrainingSpec
from spec.states import Reason
from worker.engine.course import course
from worker.engine.errors import EngineError
from worker.engine.evaluate import number
from worker.engine.events import Event, Finished, Plan
from worker.engine.loop import Pace, updates
from worker.engine.memory import require
from worker.engine.recipe import Recipe, start
from worker.engine.steering import Looks, steered
from worker.engine.validation import Validation
from worker.engine.verdict import Verdict
from worker.engine.watch import Watch


def training(spec: TrainingSpec, recipe: Recipe, *, pace: Pace) -> Iterator[Event]:
    """Train as the spec says, evaluating every so often, at the end of cycles and at the end."""
    require_resolved(spec)
    per_epoch = recipe.iterations_per_epoch
    plan = course(spec, per_epoch)
    if plan.members:
        says = 4 * len(recipe.dataset.validation) * recipe.dataset.classes
        what = f"an ensemble of {plan.members} snapshots"
        require(plan.members * says, what, recipe.numerics.device)
    learner = start(recipe, np.random.SeedSequence(spec.seed))
    rates, looks = steered(plan.schedule, plan.iterations, learner=learner, recipe=recipe)
    yield Plan(
        plan.iterations,
        per_epoch,
        plan.schedule,
        recipe.notes(),
        (*recipe.warnings, *plan.schedule.warnings(plan.iterations)),
    )

    watch = Watch(per_epoch, means=looks is not None and looks.metric == "train_loss")
    validation = Validation(learner, recipe, snapshots=plan.snapshots, seed=spec.seed)
    every = per_epoch if plan.every is None and looks else plan.every
    for block in updates(learner, recipe, rates, pace=pace, every=every, stops=plan.cycle_ends):
        yield watch.take(block)
        if watch.diverged_at is not None:
            break
        done = watch.done
        snapshot = done in plan.cycle_ends
        evaluated = plan.every is not None and done % plan.every == 0
        if evaluated or snapshot or done == plan.iterations:
            yield from validation.measure(done, snapshot=snapshot)
        if looks and every is not None and done % every == 0:
            looks.look(shown(looks, watch, validation.verdict))
    yield finished(watch, validation.result(diverged=watch.diverged_at is not None))


def require_resolved(spec: TrainingSpec) -> None:
    """Raise INVALID if a rate is still to be taken from a range test."""
    for rate in spec.schedule.references():
        raise EngineError(
            Reason.INVALID, f"/schedule{rate.pointer}: the range test is not resolved"
        )


def finished(watch: Watch, judged: dict[str, JsonValue]) -> Finished:
    """The end of a training, given what its evaluations came to."""
    train_loss, diverged_at = watch.end()
    return Finished(
        {
            "iterations": watch.done,
            "train_loss": number(train_loss),
            **judged,
            "diverged_at": diverged_at,
        }
    )


def shown(looks: Looks, watch: Watch, verdict: Verdict) -> float:
    """What a plateau schedule looks at, as it is now."""
    if looks.metric == "train_loss":
        return watch.mean()
    if verdict.last is None:
        raise EngineError(Reason.INVALID, f"/evaluate: {looks.metric} is needed by the schedule")
    return verdict.last.loss if looks.metric == "val_loss" else verdict.last.accuracy
