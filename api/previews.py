"""What a job or a sweep would run and cost, from its spec and the speed of like jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from api import choosing, components, submission
from api.answers import JobPreviewOut
from api.choosing import Choice
from api.components import Catalogue
from api.problems import SHOWN as MOST_PROBLEMS
from api.problems import FieldError, InvalidError, RefusedError, field_errors
from api.sweep_answers import PreviewOut, StepOut
from spec.access import Caller
from spec.jobs import JOB_SPEC, TrainingSpec
from spec.recipes import RecipeSpec
from spec.sweeps import SweepSpec
from store import speeds
from store.database import ReadTx
from sweeps.filling import FOUND
from sweeps.space import Parameters

SHOWN = 10
"""Configurations of a preview."""


def of_job(
    tx: ReadTx, body: Mapping[str, Any], catalogue: Catalogue, *, by: Caller
) -> JobPreviewOut:
    """What submitting this body would come to.

    Where its fields are right by themselves, all else that is wrong is told at once.
    """
    try:
        spec = JOB_SPEC.validate_python(body, from_attributes=True)  # in FastAPI's words
    except ValidationError as error:
        wrong = field_errors(error.errors()[:MOST_PROBLEMS], body)
        return JobPreviewOut(valid=False, problems=wrong)
    problems: list[FieldError] = []
    begun = 0
    try:
        components.check(spec, catalogue)
    except InvalidError as error:
        problems += error.errors
    try:
        found = submission.found(tx, spec, by=by)
        begun = found.origin.iteration if found.origin else 0
    except InvalidError as error:
        problems += error.errors
    try:
        submission.admit(tx, by=by)
    except RefusedError as error:
        problems.append(FieldError(pointer="", detail=error.detail))
    iterations = choosing.iterations_of(spec)
    pace = None if iterations is None else speeds.pace(tx, by.owner, spec)
    return JobPreviewOut(
        valid=not problems,
        problems=problems[:MOST_PROBLEMS],
        warnings=spec.warnings() if isinstance(spec, TrainingSpec) else [],
        spec=spec.model_dump(mode="json"),
        iterations=iterations,
        seconds=None if pace is None or iterations is None else max(0, iterations - begun) * pace,
    )


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
