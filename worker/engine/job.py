"""One job, from its spec to its result, as a generator of events."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from schedules import Auto
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.population import repeats_stack
from spec.states import Reason
from worker.engine.auto import automatic
from worker.engine.comparing import ALONE, Comparing
from worker.engine.errors import EngineError, explained
from worker.engine.events import Checkpoint, Event, Finished, Plan, Standing, State
from worker.engine.loop import DEFAULT_PACE, Pace, never
from worker.engine.population.size import population_size
from worker.engine.prepare import prepared
from worker.engine.range_test import range_test
from worker.engine.ranks import Rank
from worker.engine.state import require_version, restore_rng, stamped
from worker.engine.team import gathered
from worker.engine.train import training


def run(
    spec: RangeTestSpec | TrainingSpec,
    *,
    device: torch.device,
    data_dir: Path,
    pace: Pace = DEFAULT_PACE,
    due: Callable[[], bool] = never,
    resume: State | None = None,
    extend: State | None = None,
    comparing: Comparing = ALONE,
) -> Iterator[Event]:
    """Run a job: a Plan, then Blocks, Snapshots, Checkpoints, then Finished; or raise EngineError.

    Everything happens as the events are asked for, the loading of data included. Closing the
    generator stops the job at once. One job at a time per process: it sets torch's global state.

    Args:
        spec: what to run.
        device: where.
        data_dir: where datasets lie.
        pace: how often blocks come.
        due: asked after each block and what came with it; if so, a Checkpoint follows. With repeats
            of a range test that climb together it is asked when they all have.
        resume: the state of a Checkpoint of this very job, to go on with it.
        extend: the same of another training: a new one begins with its model, its optimizer and
            its place in the data, and counts its iterations. For a job that is resumed, leave it.
        comparing: where a training is evaluated and yields a Standing, and whether it ends there:
            with a lasting Checkpoint, and `stopped` in its result. Where it begins is no such
            place, unless it is resumed there.
    """
    with explained(), gathered(spec, device=device, data_dir=data_dir) as team:
        for state in (resume, extend):
            if state is not None:
                require_version(state)
        together, alone = _together(spec, device, data_dir)
        recipe = prepared(spec, device, data_dir, runs=together, rank=Rank(count=spec.ranks))
        recipe = replace(recipe, warnings=(*recipe.warnings, *alone), team=team)
        with closing(recipe), recipe.numerics.applied():
            given = extend if resume is None else resume
            if given is not None:
                restore_rng(given["rng"], device)
            match spec:
                case RangeTestSpec():
                    events = range_test(
                        spec, recipe, pace=pace, together=together, due=due, resume=resume
                    )
                case TrainingSpec(schedule=Auto() as schedule):
                    if extend is not None and resume is None:
                        raise EngineError(
                            Reason.INVALID,
                            "/from: policy 'auto' begins with a range test of a fresh model; give"
                            " the schedule with its rates",
                        )
                    events = automatic(
                        spec,
                        schedule,
                        recipe,
                        pace=pace,
                        due=due,
                        resume=resume,
                        comparing=comparing,
                    )
                case TrainingSpec():
                    events = training(
                        spec,
                        recipe,
                        pace=pace,
                        due=due,
                        resume=resume,
                        extend=extend,
                        comparing=comparing,
                    )
            yield from _timed(events, device, 0.0 if resume is None else resume["seconds"])


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


def _timed(events: Iterator[Event], device: torch.device, before: float) -> Iterator[Event]:
    """Put into the result how long the events took to make, without what their taker does.

    `before`: seconds of earlier attempts.
    """
    seconds, since, planned = 0.0, perf_counter(), False
    for event in events:
        seconds += perf_counter() - since
        match event:
            case Plan():
                seconds = seconds if planned else before
                planned = True
                yield event
            case Checkpoint():
                yield stamped(event, seconds=seconds, device=device)
            case Standing() | Finished():
                yield replace(event, result={**event.result, "seconds": seconds})
            case _:
                yield event
        since = perf_counter()
