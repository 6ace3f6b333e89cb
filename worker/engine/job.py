"""One job, from its spec to its result, as a generator of events."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from schedules import Auto
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.population import repeats_stack
from worker.engine.auto import automatic
from worker.engine.errors import EngineError, explained
from worker.engine.events import Event, Finished, Plan
from worker.engine.loop import DEFAULT_PACE, Pace
from worker.engine.population.size import population_size
from worker.engine.prepare import prepared
from worker.engine.range_test import range_test
from worker.engine.train import training


def run(
    spec: RangeTestSpec | TrainingSpec,
    *,
    device: torch.device,
    data_dir: Path,
    pace: Pace = DEFAULT_PACE,
) -> Iterator[Event]:
    """Run a job: a Plan, then Blocks and Snapshots, then Finished; or raise EngineError.

    Everything happens as the events are asked for, the loading of data included. Closing the
    generator stops the job at once. One job at a time per process: it sets torch's global state.
    """
    with explained():
        together, alone = _together(spec, device, data_dir)
        recipe = prepared(spec, device, data_dir, runs=together)
        recipe = replace(recipe, warnings=(*recipe.warnings, *alone))
        with closing(recipe), recipe.numerics.applied():
            match spec:
                case RangeTestSpec():
                    yield from _timed(range_test(spec, recipe, pace=pace, together=together))
                case TrainingSpec(schedule=Auto() as schedule):
                    yield from _timed(automatic(spec, schedule, recipe, pace=pace))
                case TrainingSpec():
                    yield from _timed(training(spec, recipe, pace=pace))


def _together(
    spec: RangeTestSpec | TrainingSpec, device: torch.device, data_dir: Path
) -> tuple[int, list[str]]:
    """How many repeats of a range test climb at once, and why none do where that failed."""
    if isinstance(spec, TrainingSpec) or not repeats_stack(spec):
        return 1, []
    try:
        found = population_size(spec, device=device, data_dir=data_dir, most=spec.repeats)
    except EngineError as error:
        return 1, [f"the repeats climb one by one: {error.detail}"]
    return found, []


def _timed(events: Iterator[Event]) -> Iterator[Event]:
    """Put into the result how long the events took to make, without what their taker does."""
    seconds, since, planned = 0.0, perf_counter(), False
    for event in events:
        seconds += perf_counter() - since
        match event:
            case Plan():
                seconds = seconds if planned else 0.0
                planned = True
                yield event
            case Finished():
                yield replace(event, result={**event.result, "seconds": seconds})
            case _:
                yield event
        since = perf_counter()
