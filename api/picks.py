"""The settings of a sweep of range tests, compared: which to train with."""

from collections.abc import Sequence
from statistics import fmean

from fastapi import APIRouter, Response
from pydantic import JsonValue

from api.conditional import conditional
from api.judging import (
    NOT_COMPARED,
    SEED,
    AskedPart,
    NotComparableError,
    RepeatedPart,
    answered,
    check_repeated,
    counting,
    grouped,
    kept,
    kind_of,
)
from api.judgment_answers import PickOut, SettingOut
from spec.sweeps import number
from store import outcomes
from store.database import ReadTx
from store.outcomes import Outcome
from store.sweeps import Sweep
from sweeps import picking
from sweeps.picking import Ramped
from sweeps.space import Parameters, identity

router = APIRouter(prefix="/v1/sweeps/{sweep_id:sweep}", tags=["sweeps"])

PATHS = (
    ("status",),
    ("landmarks", "lr_edge"),
    ("range", "end"),
    ("suggestion", "max_lr"),
    ("lowest",),
    ("iterations",),
    ("seconds",),
)
"""What is read of the result of a range test."""


@router.get(
    "/pick",
    operation_id="get_sweep_pick",
    response_model=PickOut,
    responses={**conditional("of what became of the jobs"), **NOT_COMPARED},
)
def picked(
    *,
    asked: AskedPart,
    repeated: RepeatedPart = [SEED],  # noqa: B006 - FastAPI's way to say it, never changed
) -> Response:
    """Which of the settings that range tests were run at to train with, and why."""

    def told(tx: ReadTx, sweep: Sweep) -> PickOut:
        if kind_of(sweep) != "range_test":
            raise NotComparableError(
                "a pick is of range tests, and these are trainings: ask for the sweep's ranking"
                " (GET .../ranking, `stepsize sweep-ranking`)"
            )
        found = outcomes.outcomes(tx, sweep.id, *PATHS)
        check_repeated(repeated, [pointer for each in found for pointer in each.parameters])
        tests, left_out = counting(found, failed_too=True)
        groups = grouped([each.parameters for each in tests], repeated)
        ramped = [_ramped([tests[i] for i in group], repeated) for group in groups.values()]
        pick = picking.pick(ramped)
        settings = [
            _setting(each, [tests[i] for i in groups[identity(each.parameters)]])
            for each in pick.settings
        ]
        chosen = settings[0] if pick.chosen else None
        return PickOut(
            chosen=chosen, why=pick.why, repeated=repeated, settings=settings, left_out=left_out
        )

    return answered(asked, told)


def _ramped(tests: Sequence[Outcome], repeated: Sequence[str]) -> Ramped:
    """The range tests of a setting as one."""
    return picking.together([_one(each, kept(each.parameters, repeated)) for each in tests])


def _one(test: Outcome, parameters: Parameters) -> Ramped:
    status, edge, end, rate, lowest, *_ = test.found
    if status is None:
        return Ramped(parameters, None)
    result: dict[str, JsonValue] = {
        "status": status,
        "landmarks": {"lr_edge": edge},
        "range": {"end": end},
        "suggestion": {"max_lr": rate},
    }
    found = map(number, lowest if isinstance(lowest, list) else [])
    return Ramped(parameters, result, tuple(low for low in found if low is not None))


def _setting(setting: picking.Setting, tests: Sequence[Outcome]) -> SettingOut:
    iterations, seconds = ([number(each.found[i]) for each in tests] for i in (-2, -1))
    jobs = [each.job_id for each in tests if each.job_id is not None]
    return SettingOut.of(setting, jobs, _mean(iterations), _mean(seconds))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return fmean(known) if known else None
