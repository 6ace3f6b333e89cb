"""A range test and the training that takes its rates from it, as one job."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

from pydantic import JsonValue, ValidationError

from schedules import Auto
from schedules.schedule import Suggested
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import Reason
from worker.engine.comparing import ALONE, Comparing
from worker.engine.course import course, resolved
from worker.engine.errors import EngineError, invalid
from worker.engine.events import Block, Checkpoint, Event, Finished, Plan, Standing, State
from worker.engine.loop import Pace, never
from worker.engine.range_test import range_test
from worker.engine.recipe import Recipe
from worker.engine.train import training

SHARED = (
    *("model", "data", "batch_size", "optimizer", "lr_groups", "record", "seed", "precision"),
    *("compile", "channels_last", "cuda_graphs", "accumulation", "clipping", "threads", "loader"),
    *("processes", "needs"),
)
"""What the range test has from the training."""


def automatic(
    spec: TrainingSpec,
    schedule: Auto,
    recipe: Recipe,
    *,
    pace: Pace,
    due: Callable[[], bool] = never,
    resume: State | None = None,
    comparing: Comparing = ALONE,
) -> Iterator[Event]:
    """Run the range test, then train under the schedule inside with what it suggests.

    `resume` is the state of a checkpoint of either part.

    Raises:
        EngineError: INVALID, the range test suggests nothing, or no schedule of this policy.
    """
    schedule = resolved(schedule, recipe.iterations_per_epoch)
    # planned without its rates first: a training that cannot be should not wait for a range test
    inner = spec.model_copy(update={"schedule": schedule.schedule})
    planned = course(inner, recipe.iterations_per_epoch)
    begun = 0
    if resume is not None and "tested" in resume:
        found = json.loads(resume["tested"])
        begun = found["iterations"] + resume["training"]["watch"]["done"]
    else:
        test = range_test(_range_test(spec, schedule), recipe, pace=pace, due=due, resume=resume)
        resume = None
        for event in test:
            match event:
                case Plan():
                    begun = event.start
                    yield replace(
                        event,
                        iterations=event.iterations + planned.iterations,
                        schedule=schedule,
                        warnings=(*recipe.warnings, *schedule.warnings(planned.iterations)),
                    )
                case Block():
                    columns = {f"range_{name}": column for name, column in event.columns.items()}
                    yield replace(event, series="range_test", columns=columns)
                case Finished():
                    found = event.result
                case _:
                    yield event

    tested = found["iterations"]
    concrete = inner.model_copy(update={"schedule": _following(schedule, found)})
    for event in training(concrete, recipe, pace=pace, due=due, resume=resume, comparing=comparing):
        match event:
            case Plan():
                yield replace(event, iterations=tested + event.iterations, start=begun)
            case Checkpoint():
                # as text: a checkpoint holds no other floats than Python's
                state = {**event.state, "tested": json.dumps(found)}
                yield replace(event, iteration=tested + event.iteration, state=state)
            case Standing() | Finished():
                yield replace(event, result={**event.result, "range_test": found})
            case _:
                yield event


def _range_test(spec: TrainingSpec, schedule: Auto) -> RangeTestSpec:
    shared = {name: getattr(spec, name) for name in SHARED}
    return RangeTestSpec(
        kind="range_test", range=schedule.range, repeats=schedule.repeats, **shared
    )


def _following(schedule: Auto, found: dict[str, JsonValue]) -> object:
    if found["suggestion"] is None:
        raise EngineError(
            Reason.INVALID,
            f"/schedule: the range test ended with status '{found['status']}' and suggests no"
            " learning rate; look at its series range_loss, change /schedule/range, or give the"
            " schedule's rates as numbers",
        )
    try:
        return schedule.following(cast("dict[Suggested, float]", found["suggestion"]))
    except ValidationError as error:
        raise invalid(error, "schedule", "schedule") from error
