"""A range test from plan to result: repeats up the ramp, each until it diverges, then analysis."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pydantic import JsonValue, ValidationError

from schedules.analysis import Analysis, Status, analyse, has_risen, lowest_loss
from schedules.ramp import Ramp
from schedules.values import F64
from spec.jobs import RangeTestSpec
from spec.lengths import InIterations
from worker.engine.checks import Checks
from worker.engine.climb import Climb
from worker.engine.errors import invalid
from worker.engine.events import Event, Finished, Plan, State
from worker.engine.loop import Pace, never
from worker.engine.optimizers import family
from worker.engine.recipe import Recipe
from worker.engine.repeat import Repeat

EVALUATIONS = 100
"""Up the ramp where the validation loss is read, unless the spec says how often."""


def range_test(
    spec: RangeTestSpec,
    recipe: Recipe,
    *,
    pace: Pace,
    together: int = 1,
    due: Callable[[], bool] = never,
    resume: State | None = None,
) -> Iterator[Event]:
    """Train a fresh model up the ramp `repeats` times, each from a seed of its own.

    As many repeats climb at once as `together` says. One that comes to the end of the ramp without
    an edge goes on at once, up a longer one, which the repeats after it have from their start; the
    plan is then sent again. `resume` is the state of a checkpoint of this range test.
    """
    ramp = _resolved(spec.range, recipe.iterations_per_epoch)
    if spec.loss == "probe" and "probe_loss" not in recipe.record:
        recipe = replace(recipe, record=(*recipe.record, "probe_loss"))
    rates = ramp.rates()
    every = _interval(spec, rates.size, recipe.iterations_per_epoch)
    checks = Checks(spec.checks, recipe, seed=spec.seed) if spec.checks else None
    climb = Climb(every, spec.repeats * rates.size, checks)
    if resume is not None:
        climb.resume(recipe, resume)
        rates = ramp.rates(extended=climb.extended)
    population: dict[str, JsonValue] = {"population": together} if together > 1 else {}
    plan = Plan(
        climb.iterations,
        recipe.iterations_per_epoch,
        None,
        recipe.notes() | population,
        recipe.warnings,
        start=climb.done,
    )
    yield plan

    while found := climb.following(spec, recipe, pace=pace, together=together):
        group, climber = found
        yield from climb.up(climber, rates, group, due)
        while climb.extended < spec.extensions:
            going = [each for each in group if _is_open(each, rates, spec)]
            longer = ramp.rates(extended=climb.extended + 1)
            if not going or longer.size == rates.size:  # no rate may be higher
                break
            rises = len(going) + spec.repeats - len(climb.repeats)
            climb.iterations += rises * (longer.size - rates.size)
            rates, climb.extended = longer, climb.extended + 1
            yield replace(plan, iterations=climb.iterations)
            yield from climb.up(climber, rates, going, due)
        if climber.learner is None and due():
            yield climb.checkpoint(climber)
        del climber, found  # two of them need not fit

    analysis = _read(climb.repeats, rates, spec, recipe)
    edge = analysis.landmarks.lr_edge
    yield Finished(
        {
            **analysis.result(),
            "agreement": checks.agreement(edge) if checks else None,
            "checks": checks.result() if checks else None,
            "range": {
                "start": float(rates[0]),
                "end": float(rates[-1]),
                "iterations": rates.size,
                "extended": climb.extended,
            },
            "lowest": _lowest(climb.repeats, rates, spec),
            "diverged": [repeat.diverged for repeat in climb.repeats],
            "iterations": climb.done,
        }
    )


def _lowest(repeats: Sequence[Repeat], rates: F64, spec: RangeTestSpec) -> list[JsonValue]:
    """How low the loss of each repeat came, without its noise; None where it never was finite."""
    planned = _measured(rates, repeats[0], spec).size
    return [lowest_loss(repeat.loss(spec.loss), planned) for repeat in repeats]


def _measured(rates: F64, repeat: Repeat, spec: RangeTestSpec) -> F64:
    """The rates at which the loss that the spec names was measured."""
    if spec.loss == "validation" and repeat.every is not None:
        return rates[repeat.every - 1 :: repeat.every]
    return rates


def _is_open(repeat: Repeat, rates: F64, spec: RangeTestSpec) -> bool:
    """Whether this repeat alone has no edge up to where it is: low, or still where it began."""
    if repeat.diverged:
        return False
    status = _read([repeat], rates, spec, repeat.recipe).status
    unmoved = status in {Status.NO_DESCENT, Status.TOO_NOISY}
    return status is Status.NO_EDGE_IN_RANGE or (unmoved and not has_risen(repeat.loss(spec.loss)))


def _read(repeats: Sequence[Repeat], rates: F64, spec: RangeTestSpec, recipe: Recipe) -> Analysis:
    """The analysis of the loss that the spec names, at the rates of when it was measured."""
    accuracies = [repeat.accuracy(spec.loss) for repeat in repeats]
    return analyse(
        _measured(rates, repeats[0], spec),
        [repeat.loss(spec.loss) for repeat in repeats],
        family=family(recipe.optimizer),
        loss=spec.loss,
        accuracies=[each for each in accuracies if each is not None],
        diverged=[repeat.diverged for repeat in repeats],
    )


def _interval(spec: RangeTestSpec, planned: int, per_epoch: int) -> int | None:
    if spec.evaluate is None:
        return max(1, planned // EVALUATIONS) if spec.loss == "validation" else None
    every = spec.evaluate.every
    return every.iterations if isinstance(every, InIterations) else every.iterations(per_epoch)


def _resolved(ramp: Ramp, per_epoch: int) -> Ramp:
    try:
        return ramp.resolve(iterations_per_epoch=per_epoch)
    except ValidationError as error:
        raise invalid(error, "range") from error
