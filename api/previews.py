"""What a sweep would run and cost, from its spec and the speed of like jobs."""

from collections.abc import Sequence

from pydantic import JsonValue

from api import choosing
from api.choosing import Choice
from api.components import Catalogue
from api.sweep_answers import PreviewOut, StepOut
from spec.recipes import RecipeSpec
from spec.sweeps import SweepSpec
from store import speeds
from store.database import ReadTx
from sweeps.filling import FOUND
from sweeps.space import Parameters

SHOWN = 10
"""Configurations of a preview."""


def previewed(
    tx: ReadTx, spec: SweepSpec | RecipeSpec, catalogue: Catalogue, *, owner: str
) -> PreviewOut:
    """The preview of a sweep or a recipe; nothing is queued."""
    if isinstance(spec, RecipeSpec):
        return _recipe(tx, spec, catalogue, owner)
    choices = choosing.first_of(spec, catalogue)
    jobs = choosing.promised(spec) if choosing.learns(spec) else len(choices)
    total = _within(spec, _iterations(choices, jobs))
    return PreviewOut(
        jobs=jobs,
        iterations=total,
        seconds=_seconds(tx, owner, choices, total),
        at_most=spec.stopping is not None,
        sample=[each.proposal.parameters for each in choices[:SHOWN]],
    )


def _recipe(tx: ReadTx, spec: RecipeSpec, catalogue: Catalogue, owner: str) -> PreviewOut:
    jobs = choosing.promised(spec)
    steps = []
    found = choosing.steps_of(spec, catalogue)
    for step, choices in found:
        iterations = _iterations(choices, step.jobs)
        seconds = _seconds(tx, owner, choices, iterations)
        steps.append(
            StepOut(name=step.name, jobs=step.jobs, iterations=iterations, seconds=seconds)
        )
    known = [each.iterations for each in steps if each.iterations is not None]
    total = _within(spec, sum(known) if len(known) == len(steps) else None)
    *_, (_, choices) = found
    every = [each.proposal.parameters for _, choices in found for each in choices]
    return PreviewOut(
        jobs=jobs,
        iterations=total,
        seconds=_seconds(tx, owner, choices, total),
        at_most=False,
        sample=[_known(each) for each in every[:SHOWN]],
        steps=steps,
    )


def _iterations(choices: Sequence[Choice], jobs: int) -> int | None:
    """Of so many jobs, of which these are some; None where that depends on the data."""
    lengths = [choosing.iterations_of(each.spec) for each in choices]
    known = [each for each in lengths if each is not None]
    if not known or len(known) < len(lengths):
        return None
    return sum(known) if len(choices) == jobs else max(known) * jobs


def _within(spec: SweepSpec | RecipeSpec, iterations: int | None) -> int | None:
    most = spec.budget.iterations
    return iterations if iterations is None or most is None else min(iterations, most)


def _seconds(
    tx: ReadTx, owner: str, choices: Sequence[Choice], iterations: int | None
) -> float | None:
    pace = speeds.pace(tx, owner, choices[0].spec) if choices else None
    return None if pace is None or iterations is None else iterations * pace


def _known(parameters: Parameters) -> dict[str, JsonValue]:
    unknown = {"range_test": FOUND}
    return {name: value for name, value in parameters.items() if value != unknown}
