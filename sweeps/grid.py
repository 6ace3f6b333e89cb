"""Every combination of the values of a space."""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from spec.spaces import MOST_JOBS, Choice, Dimension, Normal, Range
from spec.sweeps import SweepSpec
from sweeps.dimensions import choices, spaced, steps
from sweeps.space import Parameters, Space, SweepError, pointer_to

MOST_COMBINATIONS = 10 * MOST_JOBS
"""Before constraints; more are not looked at."""


def expand(spec: SweepSpec, space: Space) -> list[Parameters]:
    """As `meeting`, but at least one.

    Raises:
        SweepError: as there, or none meets the constraints.
    """
    found = meeting(spec, space)
    if not found:
        raise SweepError("/constraints", "no combination of the space meets all of them")
    return found


def meeting(spec: SweepSpec, space: Space) -> list[Parameters]:
    """Every combination that meets the constraints, the last field of the space changing fastest.

    Ranges with neither `step` nor `points`, and distributions, share what `budget.jobs` leaves
    beside the other fields: each gets the same number of values, the most with which there are,
    before constraints, no more combinations than jobs. With 64 jobs and 4 combinations of the
    others, one such range gets 16 values, and two get 4 each.

    Raises:
        SweepError: there are too many combinations, or no budget to share.
    """
    values = {p: _values(d) for p, d in space.dimensions.items()}
    open_ones = [pointer for pointer, each in values.items() if each is None]
    fixed = {pointer: each for pointer, each in values.items() if each is not None}
    if open_ones:
        fixed |= _shares(space, fixed, open_ones, spec.budget.jobs)
    count = _count(space, fixed, MOST_COMBINATIONS)
    if count > MOST_COMBINATIONS:
        detail = f"makes {count} combinations before constraints: take fewer values of its fields"
        raise SweepError("/space", f"{detail}, or the sampler random or quasi_random")
    found = [space.arranged(each) for each in _combinations(space, fixed) if space.holds(each)]
    most = spec.budget.jobs or MOST_JOBS
    if len(found) > most:
        limit = "jobs of the budget" if spec.budget.jobs else "jobs that a sweep may have"
        detail = f"the grid makes {len(found)} jobs, more than the {most} {limit}"
        raise SweepError(
            "/budget/jobs" if spec.budget.jobs else "/space", f"{detail}: take fewer values"
        )
    return found


def finite(dimension: Dimension) -> bool:
    """Whether a grid of the field needs no share of a budget."""
    return _values(dimension) is not None


def _values(dimension: Dimension) -> list[JsonValue] | None:
    match dimension:
        case Choice():
            return choices(dimension)
        case Range(points=int(points)):
            return spaced(dimension, points)
        case Range(step=float()):
            return steps(dimension)
        case Range() if dimension.low == dimension.high:
            return spaced(dimension, 1)
    return None


def _shares(
    space: Space,
    fixed: Mapping[str, list[JsonValue]],
    open_ones: list[str],
    jobs: int | None,
) -> dict[str, list[JsonValue]]:
    """Values of the fields that leave their number open."""
    named = pointer_to("space", open_ones[0])
    if jobs is None:
        raise SweepError(
            named, "a grid needs `points` or `step` of it, or budget.jobs to be shared"
        )

    def shared(points: int) -> dict[str, list[JsonValue]]:
        return {p: _spaced(space.dimensions[p], points) for p in open_ones}

    def fits(points: int) -> bool:
        return _count(space, {**fixed, **shared(points)}, jobs) <= jobs

    low, high = 1, jobs + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if low == 1:
        least = _count(space, {**fixed, **shared(2)}, MOST_COMBINATIONS)
        detail = f"a budget of {jobs} jobs leaves less than two values for it"
        raise SweepError(named, f"{detail}: give `points`, or budget.jobs of at least {least}")
    return shared(low)


def _spaced(dimension: Dimension, points: int) -> list[JsonValue]:
    assert isinstance(dimension, Range | Normal)  # noqa: S101 - choices leave nothing open
    return spaced(dimension, points)


def _count(space: Space, values: Mapping[str, list[JsonValue]], most: int) -> int:
    """How many combinations there are before constraints; beyond `most`, at least so many."""
    product = math.prod(len(each) for each in values.values())
    if product <= most or not any(space.conditions.values()):
        return product
    return len(_combinations(space, values, most))


def _combinations(
    space: Space, values: Mapping[str, list[JsonValue]], most: int = MOST_COMBINATIONS
) -> list[Parameters]:
    """All combinations, each field only where it is varied; cut short when past `most`."""
    partial: list[Parameters] = [{}]
    for pointer in space.order:
        following: list[Parameters] = []
        for each in partial:
            if not space.varies(pointer, each):
                following.append(each)
                continue
            following += [{**each, pointer: value} for value in values[pointer]]
        partial = following
        if len(partial) > most:
            break
    return partial
