"""The learning rate from coarse to fine: orders of ten first, then finer grids, then the rest."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

from pydantic import JsonValue

from schedules import POLICIES
from spec.spaces import MOST_JOBS, Range
from spec.sweeps import CoarseToFine, Grid, SweepSpec
from sweeps import grid
from sweeps.space import Parameters, Space, SweepError, get, identity, merged, parts, pointer_to
from sweeps.trials import Proposal, Trial, ranked, value_of

PEAKS = ("max_lr", "lr")
"""The field that is a schedule's rate: the highest one that a run climbs to or begins with."""

RATES = ("base_lr", "max_lr", "lr", "min_lr", "end_lr")

Stage = tuple[dict[str, JsonValue], list[tuple[float, Parameters]]]
"""What its proposals remember, and for each its rate and parameters."""


def promised(spec: SweepSpec, sampler: CoarseToFine) -> int:
    """How many jobs there are at most.

    Raises:
        SweepError: there is no rate to vary, or the budget does not suffice.
    """
    rest = _rest(spec, sampler, {})
    return _for_rates(spec, sampler) + (len(grid.expand(rest, Space.of(rest))) if rest.space else 0)


def propose(
    spec: SweepSpec, sampler: CoarseToFine, trials: Sequence[Trial], count: int
) -> Iterator[Proposal]:
    """Up to `count` configurations to try next; none while a stage has yet to end.

    The stages are those of the CS231n notes on hyperparameter search and of Bengio, arXiv
    1206.5533 section 3: orders of ten, briefly and at a fixed rate; then `rounds` of grids around
    the best so far, each of `points` rates evenly between the neighbours of the last, with the
    template's own schedule and length; then the grid of the other fields with the best rate.

    The best is the first by value among those that ran to their end with one, else among those
    that were stopped early. A rate too low to
    descend is worse than one that does, and one that diverges has no value, so that the ranks say
    what descended. Where none has a value, the sweep ends. Other rates of the schedule keep their
    ratio to the one that is varied, as those of a cycle must.
    """
    known = {identity(merged(spec.template, trial.parameters)) for trial in trials}
    for memory, wanted in _stages(spec, sampler, trials):
        new = [
            Proposal(parameters, {**memory, "rate": rate})
            for rate, parameters in wanted
            if identity(merged(spec.template, parameters)) not in known
        ]
        yield from new[:count]
        if new or any(not t.ended for t in trials if t.memory["round"] == memory["round"]):
            return


def _stages(spec: SweepSpec, sampler: CoarseToFine, trials: Sequence[Trial]) -> Iterator[Stage]:
    """Each stage; to be asked for the next one when all trials of the last have ended."""
    orders = [(rate, _brief(spec, sampler, rate)) for rate in _orders(spec, sampler)]
    yield {"stage": "coarse", "round": 0}, orders
    best = best_rate(spec, trials, 0)
    low, high = _ends(spec, sampler)
    spacing = 1.0  # in orders of ten
    for number in range(1, sampler.rounds + 1):
        if best is None:
            return
        spacing *= 2 / (sampler.points + 1)
        offsets = [(k - (sampler.points - 1) / 2) * spacing for k in range(sampler.points)]
        rates = [_tidy(best * 10**offset) for offset in offsets]
        wanted = [(r, _at_rate(spec, sampler, r)) for r in rates if low <= r <= high]
        yield (
            {"stage": "fine", "round": number},
            [(r, parameters) for r, parameters in wanted if _holds(spec, parameters)],
        )
        best = best_rate(spec, trials, number)
    if best is None:
        return
    at_best = _at_rate(spec, sampler, best)
    rest = _rest(spec, sampler, at_best)
    if rest.space:
        others = [(best, {**at_best, **each}) for each in grid.meeting(rest, Space.of(rest))]
        yield {"stage": "rest", "round": sampler.rounds + 1}, others


def best_rate(spec: SweepSpec, trials: Sequence[Trial], rounds: int) -> float | None:
    """The best rate of the first rounds of finer grids, or of the orders of ten before them."""
    for trial in ranked(trials, spec.objective):
        own = min(1, rounds) <= cast("int", trial.memory["round"]) <= rounds
        if own and trial.state != "failed" and value_of(trial) is not None:
            return cast("float", trial.memory["rate"])
    return None


def _path(spec: SweepSpec, sampler: CoarseToFine) -> str:
    """The pointer of the learning rate."""
    if spec.template.get("kind") != "training":
        raise SweepError("/template/kind", "coarse_to_fine is for trainings")
    name = get(spec.template, ("schedule", "policy"))
    path = sampler.path
    if path is None:
        fields = {p.model_fields["policy"].default: p.model_fields for p in POLICIES}.get(name, {})
        peak = next((peak for peak in PEAKS if peak in fields), None)
        if peak is None:
            detail = f"name the field of the learning rate: policy {name!r} has no one rate"
            raise SweepError("/sampler/path", detail)
        path = pointer_to("schedule", peak)
    for pointer in spec.space:
        above = parts(path)[: len(parts(pointer))] == parts(pointer) and pointer != path
        if above or pointer == "/schedule/policy":
            detail = f"coarse_to_fine varies {path} of the template's own schedule: leave this out"
            raise SweepError(pointer_to("space", pointer), detail)
    return path


def _ends(spec: SweepSpec, sampler: CoarseToFine) -> tuple[float, float]:
    """The lowest and the highest rate: the sampler's, else those of the field in the space."""
    path = _path(spec, sampler)
    dimension = spec.space.get(path)
    if dimension is None:
        return sampler.low, sampler.high
    if not isinstance(dimension, Range) or dimension.low <= 0 or dimension.when:
        detail = "coarse_to_fine takes {low, high} of the learning rate, with low > 0 and no `when`"
        raise SweepError(pointer_to("space", path), detail)
    low = sampler.low if "low" in sampler.model_fields_set else dimension.low
    high = sampler.high if "high" in sampler.model_fields_set else dimension.high
    if high < low:
        raise SweepError("/sampler", f"the rates end at {high}, below {low} where they begin")
    return low, high


def _orders(spec: SweepSpec, sampler: CoarseToFine) -> list[float]:
    low, high = _ends(spec, sampler)
    return [_tidy(low * 10**i) for i in range(math.floor(math.log10(high / low) + 1e-9) + 1)]


def _brief(spec: SweepSpec, sampler: CoarseToFine, rate: float) -> Parameters:
    """A short run; at a fixed rate where it is the schedule's."""
    length: Parameters = {"/length": {"iterations": sampler.iterations}}
    path = _path(spec, sampler)
    if parts(path)[0] != "schedule":
        return {path: rate, **length}
    fixed: Parameters = {"/schedule": {"policy": "constant", "lr": rate}, **length}
    if spec.template.get("snapshots") is not None:
        fixed["/snapshots"] = None  # they are taken at the ends of cycles
    return fixed


def _at_rate(spec: SweepSpec, sampler: CoarseToFine, rate: float) -> Parameters:
    """The template at another rate, its other rates in the same ratio to it."""
    path = _path(spec, sampler)
    *above, name = parts(path)
    siblings: Any = get(spec.template, tuple(above))
    others = {
        other: siblings[other]
        for other in RATES
        if isinstance(siblings, dict)
        and name in RATES
        and other != name
        and isinstance(siblings.get(other), int | float)
    }
    if not others:
        return {path: rate}
    own = siblings.get(name)
    if not isinstance(own, int | float) or own <= 0:
        detail = f"give {path} a number: {', '.join(others)} will keep the same ratio to it"
        raise SweepError(f"/template{path}", detail)
    scaled = {
        pointer_to(*above, other): _tidy(value / own * rate) for other, value in others.items()
    }
    return {path: rate, **scaled}


def _rest(spec: SweepSpec, sampler: CoarseToFine, rates: Parameters) -> SweepSpec:
    """The other fields as a sweep of their own, with the best rate in its template.

    Raises:
        SweepError: the budget has nothing left for it.
    """
    path = _path(spec, sampler)
    space = {pointer: each for pointer, each in spec.space.items() if pointer != path}
    budget = spec.budget
    spent = _for_rates(spec, sampler)
    jobs = MOST_JOBS if budget.jobs is None else budget.jobs
    if spent + bool(space) > jobs:
        detail = f"the learning rate alone takes {spent} jobs: have at least {spent + bool(space)}"
        raise SweepError("/budget/jobs", detail)
    if budget.jobs is not None:
        budget = budget.model_copy(update={"jobs": max(1, budget.jobs - spent)})
    return spec.model_copy(
        update={
            "template": merged(spec.template, rates),
            "space": space,
            "sampler": Grid(name="grid"),
            "budget": budget,
            "constraints": spec.constraints if rates else (),
        }
    )


def _for_rates(spec: SweepSpec, sampler: CoarseToFine) -> int:
    """How many jobs there are before the rest, at most."""
    _at_rate(spec, sampler, 1.0)
    again = sampler.points - sampler.points % 2  # the middle one has been run before
    return len(_orders(spec, sampler)) + sampler.points + again * (sampler.rounds - 1)


def _holds(spec: SweepSpec, parameters: Parameters) -> bool:
    held = spec.model_copy(update={"template": merged(spec.template, parameters), "space": {}})
    return Space.of(held).holds({})


def _tidy(rate: float) -> float:
    return float(f"{rate:.12g}")
