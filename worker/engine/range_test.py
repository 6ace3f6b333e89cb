"""A range test from plan to result: repeats up the ramp, each until it diverges, then analysis."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydantic import ValidationError

from schedules.analysis import analyse, divergence
from schedules.ramp import Ramp
from schedules.values import as_iterations
from spec.jobs import RangeTestSpec
from worker.engine.errors import invalid
from worker.engine.events import Event, Finished, Plan
from worker.engine.loop import Pace, Rates, updates
from worker.engine.optimizers import family
from worker.engine.recipe import Recipe, start


def range_test(spec: RangeTestSpec, recipe: Recipe, *, pace: Pace) -> Iterator[Event]:
    """Train a fresh model up the ramp `repeats` times, each from a seed of its own."""
    ramp = _resolved(spec.range, recipe.iterations_per_epoch)
    planned = as_iterations(ramp.iterations)
    yield Plan(spec.repeats * planned, recipe.iterations_per_epoch, None, recipe.numerics.notes())

    rates = Rates(planned, ramp.lr_at, lambda _: None)
    curves = []
    for repeat, seeds in enumerate(np.random.SeedSequence(spec.seed).spawn(spec.repeats)):
        losses = np.empty(0, np.float32)
        for block in updates(start(recipe, seeds), recipe, rates, pace=pace):
            losses = np.concatenate([losses, block.columns["loss"]])
            stop = divergence(losses, planned=planned)
            losses = losses[:stop]
            yield replace(block, repeat=repeat).until(len(losses))
            if stop is not None:
                break
        curves.append(losses)

    analysis = analyse(
        ramp.lr_at(np.arange(planned, dtype=np.float64)),
        curves,
        family=family(recipe.optimizer),
    )
    yield Finished({**analysis.result(), "iterations": sum(map(len, curves))})


def _resolved(ramp: Ramp, per_epoch: int) -> Ramp:
    try:
        return ramp.resolve(iterations_per_epoch=per_epoch)
    except ValidationError as error:
        raise invalid(error, "range") from error
