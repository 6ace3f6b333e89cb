"""Covariance matrix adaptation: generations of points whose distribution follows the good ones."""

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import cast

import cmaes
import numpy as np
from pydantic import JsonValue

from schedules.values import F64
from spec.spaces import Normal, Range
from spec.sweeps import CmaEs, SweepSpec
from sweeps.drawing import at_point, different, generator, independent
from sweeps.space import Space, SweepError, identity
from sweeps.trials import Proposal, Trial, ranked

TRIES = 50
"""Asked so often for a configuration that is new and meets the constraints; then one is drawn."""

SPREAD = 1 / 6
"""The first generation's standard deviation, as a share of each range (as Optuna's)."""


def adapted(space: Space) -> list[str]:
    """The fields that take part: numbers that are always varied. Others are drawn at random."""
    found = [
        pointer
        for pointer, dimension in space.dimensions.items()
        if not dimension.when
        and (
            isinstance(dimension, Normal)
            or (isinstance(dimension, Range) and dimension.low < dimension.high)
        )
    ]
    if not found:
        detail = "cma_es needs a range or a distribution without `when`: use the sampler tpe"
        raise SweepError("/space", detail)
    return found


def propose(
    spec: SweepSpec, space: Space, sampler: CmaEs, trials: Sequence[Trial], count: int
) -> Iterator[Proposal]:
    """Up to `count` configurations to try next.

    Source: Hansen, arXiv 1604.00772; population and rates are its defaults. The state is what the
    generations so far make of a fresh one: each proposal remembers its generation, its point in
    the unit cube, and which trials the generation before was made of. Only ranks are told, in
    which those that failed or diverged come last, and what is asked for while a generation is
    full and not yet told belongs to it too: the first to end count. So that few are left over, a
    generation is as large as the number of jobs that run at one time, or larger.
    """
    fields = adapted(space)
    ended = ranked(trials, spec.objective)
    known = {identity(trial.parameters) for trial in trials}
    first = 1 + max((trial.number for trial in trials), default=-1)
    fresh = _fresh(len(fields), sampler.seed, spec.budget.parallel or 0)
    optimizer, told = _replayed(fresh, trials, ended)
    for number in range(first, first + count):
        proposal = None
        if len(ended) >= sampler.startup:
            optimizer.reseed_rng(int(generator(sampler.seed, number).integers(2**32)))
            rows = islice(independent(space, sampler.seed, number), TRIES)
            proposal = next(
                _asked(space, fields, optimizer, told=told, rows=rows, known=known), None
            )
        if proposal is None:
            drawn = different(space, independent(space, sampler.seed, number), 1, known=known)
            if not drawn:
                return
            proposal = Proposal(drawn[0])
        known.add(identity(proposal.parameters))
        yield proposal


def _asked(
    space: Space,
    fields: list[str],
    optimizer: cmaes.CMA,
    *,
    told: list[JsonValue],
    rows: Iterable[list[float]],
    known: AbstractSet[Hashable],
) -> Iterator[Proposal]:
    """New configurations with the optimizer's numbers, and of the other fields those of a row."""
    for row in rows:
        point = optimizer.ask().tolist()
        shares = dict(zip(space.order, row, strict=True)) | dict(zip(fields, point, strict=True))
        parameters = at_point(space, [shares[pointer] for pointer in space.order])
        if parameters is not None and identity(parameters) not in known:
            memory = {"generation": optimizer.generation, "point": point, "told": told}
            yield Proposal(parameters, memory)


def _fresh(dimensions: int, seed: int, parallel: int) -> cmaes.CMA:
    return cmaes.CMA(
        mean=np.full(dimensions, 0.5),
        sigma=SPREAD,
        bounds=np.tile([0.0, 1.0], (dimensions, 1)),
        seed=seed,
        n_max_resampling=10 * dimensions,
        population_size=max(parallel, 4 + int(3 * math.log(dimensions))),  # equation 48
    )


def _replayed(
    optimizer: cmaes.CMA, trials: Sequence[Trial], ended: Sequence[Trial]
) -> tuple[cmaes.CMA, list[JsonValue]]:
    """The optimizer after all generations that are complete, and what the last was made of."""
    told: list[JsonValue] = []
    rank = {trial.number: float(place) for place, trial in enumerate(ended)}
    generations: dict[JsonValue, list[Trial]] = {}
    for trial in trials:
        generations.setdefault(trial.memory.get("generation"), []).append(trial)
    while True:
        own = generations.get(optimizer.generation, [])
        if following := generations.get(optimizer.generation + 1):
            told = cast("list[JsonValue]", following[0].memory["told"])
            members = [trial for trial in own if trial.number in told]
        else:
            members = [trial for trial in own if trial.ended][: optimizer.population_size]
            if len(members) < optimizer.population_size:
                return optimizer, told
            told = [trial.number for trial in members]
        optimizer.tell([(_point(trial), rank[trial.number]) for trial in members])


def _point(trial: Trial) -> F64:
    return np.array(trial.memory["point"], dtype=np.float64)
