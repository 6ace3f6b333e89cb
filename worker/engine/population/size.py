"""How many runs are best trained at once: by memory, and by what it is measured to gain."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import Reason
from worker.engine.errors import EngineError, explained
from worker.engine.population.stack import Stack
from worker.engine.prepare import prepared
from worker.engine.recipe import Recipe, optimizer_params, start
from worker.engine.replay import WARM_UP
from worker.engine.streams import Streamed

SIZES = (2, 4, 8, 16, 32, 64)

WORTH_IT = 1.1
"""What a run must gain over being trained alone, as a factor of speed."""

UPDATES = 5
SECONDS = 0.03
"""An update is timed so often at least, and for so long."""

PATIENCE = 2
"""Sizes in a row that are no faster than the best before the search ends."""

FILLED = 0.05
"""Seconds of an update in which a processor has enough to do."""

MATTERS = {
    *("model", "data", "batch_size", "optimizer", "record"),
    *("precision", "cuda_graphs", "threads", "population"),
}


def population_size(
    spec: RangeTestSpec | TrainingSpec, *, device: torch.device, data_dir: Path, most: int
) -> int:
    """How many runs of such a job are best trained at once on the device, 1 where one by one.

    Measured with a few updates the first time that a worker meets such a job.
    """
    limit = next((size for size in SIZES if size >= most), SIZES[-1])
    return min(most, _best(_representative(spec), device, data_dir, limit))


def _representative(spec: RangeTestSpec | TrainingSpec) -> str:
    """A training with what makes a difference to speed, the same for all that are like it."""
    given = spec.model_dump(mode="json", include=MATTERS)
    kind = given.pop("optimizer")["name"]
    return TrainingSpec.model_validate(
        {
            **given,
            "kind": "training",
            "optimizer": {"name": kind, "params": {"momentum": 0.9} if kind == "sgd" else {}},
            "schedule": {"policy": "constant", "lr": 1.0},
            "length": {"iterations": 1},
        }
    ).model_dump_json()


@lru_cache(maxsize=64)
def _best(text: str, device: torch.device, data_dir: Path, limit: int) -> int:
    """What was found once holds for good, so that nothing is found to be gained only twice."""
    found = _found(text, device, data_dir, limit)
    return found if found > 1 else _found(text, device, data_dir, limit)


def _found(text: str, device: torch.device, data_dir: Path, limit: int) -> int:
    spec = TrainingSpec.model_validate_json(text)
    recipe = prepared(spec, device, data_dir)
    if isinstance(recipe.dataset, Streamed):
        return 1
    alone = _alone(recipe, spec)
    best, least, idle = 1, alone / WORTH_IT, 0
    if alone > FILLED:
        return best
    for runs in (size for size in SIZES if size <= limit):
        try:
            with explained():
                recipe = prepared(spec, device, data_dir, runs=runs)
                seconds = _together(recipe, spec, runs) / runs
        except EngineError as error:
            if error.reason is not Reason.OOM:
                raise
            break
        idle += 1
        if seconds < least:
            best, least, idle = runs, seconds, 0
        if idle == PATIENCE:
            break
    return best


def _alone(recipe: Recipe, spec: TrainingSpec) -> float:
    """Seconds that an update of one run takes."""
    with recipe.numerics.applied():
        learner = start(recipe, np.random.SeedSequence(spec.seed))
        return _seconds(lambda: learner.step(learner.batches.next(), 0.0), recipe)


def _together(recipe: Recipe, spec: TrainingSpec, runs: int) -> float:
    """Seconds that an update of so many takes."""
    with recipe.numerics.applied():
        seeds = [np.random.SeedSequence(spec.seed)] * runs
        stack = Stack(recipe, [optimizer_params(spec)] * runs, seeds)

        def update() -> None:
            stack.plan(np.zeros((1, runs)), np.full((1, runs), np.nan))
            stack()

        return _seconds(update, recipe)


def _seconds(update: Callable[[], object], recipe: Recipe) -> float:
    """The median of a few, after those that pay for what is done once."""
    cuda, taken = recipe.numerics.device.type == "cuda", list[float]()
    for _ in range(WARM_UP + 2 if cuda else 1):
        update()
    if cuda:
        torch.cuda.synchronize(recipe.numerics.device)
    while len(taken) < UPDATES or sum(taken) < SECONDS:
        began = perf_counter()
        update()
        if cuda:
            torch.cuda.synchronize(recipe.numerics.device)
        taken.append(perf_counter() - began)
    return median(taken)
