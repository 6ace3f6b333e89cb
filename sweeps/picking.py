"""Which setting to train with, after range tests at several momenta, weight decays and so on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pydantic import JsonValue

from schedules.analysis.status import Status
from sweeps.ranking import described
from sweeps.space import Parameters, get

MARGIN = 0.02
"""Lowest losses that differ by less, as a share of the lower one, are not told apart."""

ERRORS = 2.0
"""Nor are those within so many standard errors of the lowest one, over its repeats."""


@dataclass(frozen=True)
class Ramped:
    """A range test that has ended, of one setting.

    Attributes:
        result: the job's, or None where it failed.
        lowest: how low the loss of each repeat came; all empty: unknown.
    """

    parameters: Parameters
    result: Mapping[str, JsonValue] | None
    lowest: tuple[float, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What a range test says for one setting.

    Attributes:
        stable_lr: the edge, or where the ramp ended while it was still stable; None if it never
            was.
        open_ended: it was still stable there.
        lowest: mean over the repeats; None where unknown.
        max_lr: the rate to climb to that its range test suggests.
        status: of the range test; `failed` without a result.
    """

    parameters: Parameters
    stable_lr: float | None
    open_ended: bool
    lowest: float | None
    max_lr: float | None
    status: str


@dataclass(frozen=True)
class Pick:
    """The setting to train with, None where no range test says, and a sentence that says why.

    Attributes:
        settings: all of them, the picked one first.
    """

    chosen: Setting | None
    settings: tuple[Setting, ...]
    why: str


def together(tests: Sequence[Ramped]) -> Ramped:
    """Range tests of one setting, such as over several seeds, as one with the repeats of all.

    Its result is that of the one in the middle by how high a rate it bears, so that what most of
    them say counts.

    Raises:
        ValueError: there is none.
    """
    if not tests:
        raise ValueError("give at least one range test")

    def bears(test: Ramped) -> float:
        return _setting(test).stable_lr or 0.0

    ordered = sorted(tests, key=bears)
    middle = ordered[(len(ordered) - 1) // 2]
    lowest = tuple(low for test in tests for low in test.lowest)
    return Ramped(middle.parameters, middle.result, lowest)


def pick(tests: Sequence[Ramped]) -> Pick:
    """The setting that bears the highest rate of those whose loss falls lowest.

    After Smith, arXiv 1803.09820, section 4, who overlays range tests at several momenta or weight
    decays and looks for the lowest loss at the highest rates. Where these disagree, the loss comes
    first here: settings are left in as long as their lowest loss is not told apart from the lowest
    of all, by two of its standard errors over the repeats or 2 %, and of them the highest stable
    rate wins. Compare range tests with the same ramp, model and data: a longer ramp falls lower,
    and so does one of as many iterations with larger batches, which sees more data.
    """
    found = [(_setting(test), test.lowest) for test in tests]
    stable = [each for each in found if each[0].stable_lr is not None]
    known = [each for each in stable if each[0].lowest is not None]
    among = known or stable
    if not among:
        reasons = _statuses([setting for setting, _ in found])
        why = f"no range test has found a stable rate ({reasons}): see what each one advises"
        return Pick(None, tuple(setting for setting, _ in found), why)
    low, repeats = min(among, key=lambda each: _or_infinity(each[0].lowest))
    best = _or_infinity(low.lowest)
    # one limit for all: with errors of their own, noisy ones would get in before better ones
    limit = best + max(MARGIN * abs(best), ERRORS * _error(repeats))
    alike = [each for each, _ in among if not known or _or_infinity(each.lowest) <= limit]
    chosen = min(alike, key=lambda each: (-(each.stable_lr or 0.0), _or_infinity(each.lowest)))

    def place(each: Setting) -> tuple[bool, bool, bool, float, float]:
        out, loss = each.stable_lr is None, _or_infinity(each.lowest)
        return each is not chosen, out, each not in alike, loss, -(each.stable_lr or 0.0)

    settings = sorted((setting for setting, _ in found), key=place)
    return Pick(chosen, tuple(settings), _why(chosen, alike, settings))


def _setting(test: Ramped) -> Setting:
    result = test.result
    if result is None:
        return Setting(
            test.parameters, None, open_ended=False, lowest=None, max_lr=None, status="failed"
        )
    status = str(result.get("status"))
    stable = None
    if status == Status.OK:
        stable = _number(result, "landmarks", "lr_edge")
    elif status == Status.NO_EDGE_IN_RANGE:
        stable = _number(result, "range", "end")
    finite = [each for each in test.lowest if math.isfinite(each)]
    return Setting(
        test.parameters,
        stable,
        open_ended=status == Status.NO_EDGE_IN_RANGE,
        lowest=fmean(finite) if finite else None,
        max_lr=_number(result, "suggestion", "max_lr"),
        status=status,
    )


def _number(result: Mapping[str, JsonValue], *path: str) -> float | None:
    value = get(dict(result), path)
    return float(value) if isinstance(value, int | float) else None


def _error(repeats: Sequence[float]) -> float:
    finite = [each for each in repeats if math.isfinite(each)]
    return stdev(finite) / math.sqrt(len(finite)) if len(finite) > 1 else 0.0


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else value


def _why(chosen: Setting, alike: Sequence[Setting], settings: Sequence[Setting]) -> str:
    name, rate = described(chosen.parameters), f"{chosen.stable_lr:.3g}"
    bears = f"rates up to {rate}" + (", where its ramp ended" if chosen.open_ended else "")
    usable = [each for each in settings if each.stable_lr is not None]
    others = [each for each in usable if each not in alike and each.lowest is not None]
    if len(usable) == 1:
        said = f"{name} is the only one with a stable rate: it bears {bears}"
    elif chosen.lowest is None:
        said = f"{name} bears the highest rates, {bears}; how low the losses came is not known"
    elif len(alike) == 1:
        said = f"{name} falls lowest, to a loss of {chosen.lowest:.3g}, and bears {bears}"
    else:
        rest = [each.stable_lr or 0.0 for each in alike if each is not chosen]
        losses = [each.lowest for each in alike if each.lowest is not None]
        said = (
            f"{name} bears {bears}, the others among the {len(alike)} that fall lowest up to"
            f" {max(rest):.3g}; their lowest losses, {min(losses):.3g} to {max(losses):.3g}, are"
            " not told apart"
        )
    if others:
        second = min(others, key=lambda each: _or_infinity(each.lowest))
        said += f"; next is {described(second.parameters)} with a loss of {second.lowest:.3g}"
        said += f" and rates up to {second.stable_lr:.3g}"
    if unknown := [s for s in usable if s.lowest is None and s not in alike]:
        said += f"; not compared, for want of a loss: {_named(unknown)}"
    if left := [each for each in settings if each.stable_lr is None]:
        said += f"; without a stable rate: {_statuses(left)}"
    return said


def _named(settings: Sequence[Setting]) -> str:
    return "; ".join(described(each.parameters) for each in settings)


def _statuses(settings: Sequence[Setting]) -> str:
    return (
        "; ".join(f"{described(each.parameters)}: {each.status}" for each in settings) or "none ran"
    )
