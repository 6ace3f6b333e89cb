"""A training from plan to result: updates, evaluations, and the early end of a diverged one."""

from collections.abc import Callable, Container, Generator, Iterator

from pydantic import JsonValue

from spec.jobs import TrainingSpec
from spec.states import Reason
from worker.engine.comparing import ALONE, Comparing, stopped
from worker.engine.course import Course, course
from worker.engine.errors import EngineError
from worker.engine.evaluate import number
from worker.engine.events import Checkpoint, Event, Finished, Plan, Standing, State
from worker.engine.loop import Pace, never, updates
from worker.engine.memory import require
from worker.engine.progress import Progress
from worker.engine.recipe import Recipe
from worker.engine.steering import Looks
from worker.engine.verdict import Verdict
from worker.engine.watch import Watch


def training(
    spec: TrainingSpec,
    recipe: Recipe,
    *,
    pace: Pace,
    due: Callable[[], bool] = never,
    resume: State | None = None,
    extend: State | None = None,
    comparing: Comparing = ALONE,
) -> Iterator[Event]:
    """Train as the spec says, evaluating every so often, at the end of cycles and at the end.

    `resume` is the state of a checkpoint of this training, `extend` of another that it goes on
    from.
    """
    plan = _planned(spec, recipe)
    if resume is not None:
        progress = Progress.resumed(spec, plan, recipe, resume)
    elif extend is not None:
        progress = Progress.extended(spec, plan, recipe, extend)
    else:
        progress = Progress.begun(spec, plan, recipe)
    watch, validation, looks = progress.watch, progress.validation, progress.looks
    per_epoch = recipe.iterations_per_epoch
    yield Plan(
        plan.iterations,
        per_epoch,
        plan.schedule,
        recipe.notes(),
        (*recipe.warnings, *plan.schedule.warnings(plan.iterations)),
        start=watch.done,
    )

    rungs = comparing.within(plan.schedule, plan.iterations, per_epoch, start=watch.done)
    enough: str | None = None
    if resume is not None:  # at a rung it may have been stopped, and then lost
        enough = yield from _compared(progress, comparing, rungs)

    every = per_epoch if plan.every is None and looks else plan.every
    blocks = updates(
        progress.learner,
        recipe,
        progress.rates,
        pace=pace,
        every=every,
        stops=sorted({*plan.stops, *rungs}),
        start=watch.done,
    )
    for block in blocks if enough is None else ():
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
        enough = yield from _compared(progress, comparing, rungs)
        lasting = done in plan.lasting or enough is not None
        if is_kept(watch, plan.iterations, asked=due() or lasting):
            yield Checkpoint(done, lasting, progress.state_dict())
        if enough is not None:
            break
    end = finished(watch, validation.result(diverged=watch.diverged_at is not None))
    yield end if enough is None else stopped(end, watch.done, enough)


def _compared(
    progress: Progress, comparing: Comparing, rungs: Container[int]
) -> Generator[Event, None, str | None]:
    """Yield where a training stands that is at a rung; why it ends there, or None."""
    watch, validation = progress.watch, progress.validation
    if watch.done not in rungs:
        return None
    last = validation.verdict.last
    if last is None or last.iteration != watch.done:
        yield from validation.measure(watch.done, snapshot=False)
    yield Standing(watch.done, finished(watch, validation.result(diverged=False)).result)
    return comparing.enough()


def _planned(spec: TrainingSpec, recipe: Recipe) -> Course:
    require_resolved(spec)
    plan = course(spec, recipe.iterations_per_epoch)
    if plan.members:
        says = 4 * len(recipe.dataset.validation) * recipe.dataset.classes
        what = f"an ensemble of {plan.members} snapshots"
        require(plan.members * says, what, recipe.numerics.device)
    return plan


def is_kept(watch: Watch, iterations: int, *, asked: bool) -> bool:
    """Whether to make a checkpoint: where one is asked for, and at an end that is no divergence."""
    if watch.done < iterations:
        return asked and watch.diverged_at is None
    _, diverged_at = watch.end()
    return diverged_at is None


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
