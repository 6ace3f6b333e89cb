"""A training from plan to result: updates, evaluations, and the early end of a diverged one."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schedules import Schedule
from schedules.values import MAX_ITERATIONS, Epochs
from spec.jobs import InIterations, TrainingSpec
from spec.states import Reason
from worker.engine.errors import EngineError, invalid
from worker.engine.evaluate import Evaluation, evaluate, number
from worker.engine.events import Block, Event, Finished, Plan
from worker.engine.loop import Pace, Rates, updates
from worker.engine.recipe import Recipe, start

DIVERGED = 10
"""So many losses in a row that are not finite end a training."""

GONE = 1.25
"""A training that ends above so many times the loss it began with has diverged as well."""


def training(spec: TrainingSpec, recipe: Recipe, *, pace: Pace) -> Iterator[Event]:
    """Train as the spec says, evaluating every so often and at the end."""
    per_epoch = recipe.iterations_per_epoch
    schedule, iterations = resolved(spec, per_epoch)
    every = _interval(spec, per_epoch)
    learner = start(recipe, np.random.SeedSequence(spec.seed))
    yield Plan(iterations, per_epoch, schedule, recipe.numerics.notes())

    rates = Rates(
        iterations,
        partial(schedule.lr_at, iterations=iterations),
        partial(schedule.momentum_at, iterations=iterations),
    )
    recent = np.empty(0, np.float32)  # losses: the last epoch, or what a run of NaN may begin in
    last: Evaluation | None = None
    best: Evaluation | None = None
    done, diverged_at = 0, None
    limit, inside = np.inf, -1  # the last iteration whose loss was within the limit
    for block in updates(learner, recipe, rates, pace=pace, every=every):
        losses = block.columns["loss"].astype(np.float32)
        if block.start == 0:
            limit = GONE * float(losses[0])
        within = np.flatnonzero(losses <= limit)
        inside = block.start + int(within[-1]) if len(within) else inside
        done = block.start + len(block)
        recent = np.concatenate([recent[-max(per_epoch, DIVERGED) :], losses])
        run = first_run(~np.isfinite(recent), DIVERGED)
        if run is not None:
            diverged_at = done - len(recent) + run
            done, recent, last = diverged_at + DIVERGED, recent[: run + DIVERGED], None
            yield block.until(done)
            break
        yield block
        if done == iterations or (every is not None and done % every == 0):
            last = evaluate(learner.model, recipe.dataset.validation, recipe.numerics, done)
            best = max(best or last, last, key=Evaluation.rank)
            yield Block("validation", 0, done, last.columns())
    train_loss = float(recent[-per_epoch:].mean(dtype=np.float64))
    if diverged_at is None and train_loss > limit:
        diverged_at = inside + 1
    yield Finished(
        {
            "iterations": done,
            "train_loss": number(train_loss),
            "val_loss": number(last.loss) if last else None,
            "val_accuracy": last.accuracy if last else None,
            "best": best.result() if best else None,
            "diverged_at": diverged_at,
        }
    )


def resolved(spec: TrainingSpec, per_epoch: int) -> tuple[Schedule, int]:
    """The schedule with its counts in iterations, and how many of these the training has."""
    for rate in spec.schedule.references():
        raise EngineError(
            Reason.INVALID, f"/schedule{rate.pointer}: the range test is not resolved"
        )
    try:
        schedule = spec.schedule.resolve(iterations_per_epoch=per_epoch)
    except ValidationError as error:
        raise invalid(error, "schedule") from error
    iterations = spec.model_copy(update={"schedule": schedule}).iterations(
        iterations_per_epoch=per_epoch
    )
    if iterations > MAX_ITERATIONS:
        raise EngineError(
            Reason.INVALID,
            f"/length: {iterations} iterations are more than the limit of {MAX_ITERATIONS}",
        )
    return schedule, iterations


def first_run(flags: NDArray[np.bool_], length: int) -> int | None:
    """Where the first `length` true flags in a row begin."""
    if len(flags) < length:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(flags, length).all(axis=1)
    return int(runs.argmax()) if runs.any() else None


def _interval(spec: TrainingSpec, per_epoch: int) -> int | None:
    if spec.evaluate is None:
        return None
    match spec.evaluate.every:
        case InIterations(iterations=n):
            return n
        case Epochs() as epochs:
            return epochs.iterations(per_epoch)
