"""Bounds that a schedule takes from a finished range test, as numbers."""

from typing import cast

from pydantic import ValidationError

from api.problems import FieldError, InvalidError, field_errors
from schedules import Policy
from schedules.values import AUTO
from spec.states import State
from store import jobs
from store.database import ReadTx


def taken(
    tx: ReadTx, schedule: Policy, *, owner: str, later: str | None = None
) -> dict[str, float]:
    """Pointer -> number for every bound of the schedule that names a finished range test.

    Those of the job's own range test, under policy `auto`, are left to its worker, and those that
    stand for what is found `later` are left out.

    Raises:
        InvalidError: a job is no finished range test with a suggestion, or the numbers do not
            make a schedule.
    """
    found: dict[str, float] = {}
    wrong: list[FieldError] = []
    for rate in schedule.references():
        if rate.range_test in {AUTO, later}:
            continue
        try:
            found[rate.pointer] = _suggestion(tx, owner, rate.range_test, rate.suggested)
        except LookupError as error:
            pointer = f"/schedule{rate.pointer}/range_test"
            wrong.append(FieldError(pointer=pointer, detail=str(error)))
    if wrong:
        raise InvalidError(wrong)
    check(schedule, found)
    return found


def check(schedule: Policy, found: dict[str, float]) -> None:
    """Refuses numbers that do not make a schedule, such as a peak below the base."""
    try:
        schedule.with_rates(found)
    except ValidationError as error:
        wrong = field_errors(error.errors(), schedule.model_dump(), under="/schedule")
        raise InvalidError(wrong) from error


def _suggestion(tx: ReadTx, owner: str, job_id: str, name: str) -> float:
    try:
        job = jobs.get(tx, job_id, owner=owner)
    except jobs.JobNotFoundError:
        raise LookupError(f"there is no job {job_id}") from None
    if job.kind != "range_test":
        raise LookupError(f"{job_id} is a {job.kind}, not a range test")
    if job.state != State.SUCCEEDED or job.result is None:
        raise LookupError(f"{job_id} is {job.state}; wait until it has succeeded")
    suggestion = job.result["suggestion"]
    if suggestion is None:
        status = job.result["status"]
        raise LookupError(f"{job_id} ended with status '{status}' and suggests no learning rate")
    return cast("dict[str, float]", suggestion)[name]
