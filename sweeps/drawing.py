"""Configurations at points of a cube, drawn independently or evenly."""

from collections.abc import Callable, Collection, Hashable, Iterator
from itertools import count

from numpy.random import PCG64, Generator, SeedSequence

from schedules.values import F64
from spec.sweeps import Quasi, Random, SweepSpec
from sweeps.dimensions import at
from sweeps.halton import halton
from sweeps.space import Parameters, Space, SweepError, identity

PATIENCE = 10_000
"""After so many points in a row without a new configuration there are no more to be found."""

BLOCK = 256


def generator(*seeds: int) -> Generator:
    """Random numbers that depend on nothing but the seeds."""
    return Generator(PCG64(SeedSequence(list(seeds))))


def expand(spec: SweepSpec, space: Space, sampler: Random | Quasi) -> list[Parameters]:
    """As many different configurations as the budget has jobs, or all there are.

    Raises:
        SweepError: there is no budget, or nothing meets the constraints.
    """
    if spec.budget.jobs is None:
        raise SweepError("/budget/jobs", f"say how many jobs {sampler.name} is to draw")
    wanted = spec.budget.jobs
    some(space, sampler.seed)
    rows = _even if isinstance(sampler, Quasi) else _random
    return different(space, rows(len(space.order), sampler.seed, max(wanted, BLOCK)), wanted)


def some(space: Space, seed: int) -> None:
    """Refuses constraints that next to nothing meets.

    Raises:
        SweepError: nothing was found that does.
    """
    if not different(space, independent(space, seed), 1):
        raise SweepError("/constraints", f"none of {PATIENCE} configurations meets all of them")


def different(
    space: Space,
    rows: Iterator[list[float]],
    wanted: int,
    *,
    known: Collection[Hashable] = (),
    patience: int = PATIENCE,
) -> list[Parameters]:
    """The first configurations at these points that meet the constraints and are new."""
    seen, found, misses = set(known), list[Parameters](), 0
    while len(found) < wanted and misses < patience:
        parameters = at_point(space, next(rows))
        if parameters is None or identity(parameters) in seen:
            misses += 1
            continue
        seen.add(identity(parameters))
        found.append(parameters)
        misses = 0
    return found


def at_point(space: Space, row: list[float]) -> Parameters | None:
    """The configuration at a point, or None where a constraint does not hold."""
    coordinate = dict(zip(space.order, row, strict=True))
    return space.configuration(lambda pointer, dimension: at(dimension, coordinate[pointer]))


def independent(space: Space, *seeds: int) -> Iterator[list[float]]:
    """Points drawn one by one."""
    numbers = generator(*seeds)
    while True:
        yield numbers.random(len(space.order)).tolist()


def _random(dimensions: int, seed: int, block: int) -> Iterator[list[float]]:
    numbers = generator(seed)
    return _in_blocks(lambda _: numbers.random((block, dimensions)))


def _even(dimensions: int, seed: int, block: int) -> Iterator[list[float]]:
    return _in_blocks(lambda i: halton(block, dimensions, seed=seed, start=i * block))


def _in_blocks(block: Callable[[int], F64]) -> Iterator[list[float]]:
    for i in count():
        yield from block(i).tolist()
