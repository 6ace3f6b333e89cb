"""Which configuration of a sweep is best, and whether that can be told apart from chance."""

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from pydantic import JsonValue

from spec.sweeps import Direction
from sweeps.significance import flipped, holm, quantile, two_sided
from sweeps.space import Parameters, identity

LEVEL = 0.05
"""Differences with a p value below it are told apart."""

TENS = 100
"""Percent that are written in whole numbers."""

SMALL = 0.001
"""Smaller p values are not written out."""

LARGEST = 1e150
"""Beyond it a value has diverged: its square is not finite."""

LONGEST = 60
"""Letters of a value in a sentence."""

Runs = dict[Hashable, float | None]
"""What repeats a configuration, such as its seed -> its value."""


@dataclass(frozen=True)
class Row:
    """A trial that ran to its end.

    Attributes:
        value: of the objective; None, not finite or beyond 1e150 where it diverged.
    """

    parameters: Parameters
    value: float | None


@dataclass(frozen=True)
class Comparison:
    """A configuration against the best, over the repeats (seeds) that both have a value for.

    Attributes:
        pairs: how many those are.
        difference: mean of how much worse it is, above 0 where the best is better; None without
            pairs.
        relative: the same as a share of the best's mean; None where that is 0.
        interval: 95 % confidence interval of the difference by Student's t; None with fewer than
            two pairs.
        p_t: two-sided p value of the paired t-test; None with fewer than two pairs or where all
            differences are the same, of which it has nothing to say.
        p_flip: of the sign-flip permutation test, at least 2 / 2^pairs; None with fewer than two.
        p: p_t, else p_flip, corrected by Holm for all configurations that are compared.
        told_apart: p is below .05.
    """

    pairs: int
    difference: float | None = None
    relative: float | None = None
    interval: tuple[float, float] | None = None
    p_t: float | None = None
    p_flip: float | None = None
    p: float | None = None
    told_apart: bool = False


@dataclass(frozen=True)
class Ranked:
    """A configuration with what its repeats came to.

    Attributes:
        parameters: without those that only repeat it.
        n: of different repeats, those with a value.
        diverged: those without one.
        mean: over those with a value; None where there is none.
        sd: the sample's standard deviation; None below two values.
        against_best: None for the best itself, and where one of the two has no value.
        verdict: a sentence.
    """

    parameters: Parameters
    n: int
    diverged: int
    mean: float | None
    sd: float | None
    against_best: Comparison | None
    verdict: str


def rank(
    rows: Sequence[Row], direction: Direction, *, repeated: Sequence[str] = ("/seed",)
) -> list[Ranked]:
    """The configurations of a sweep, the best first: trials that differ only in `repeated`.

    Those that never diverged come first, by their means; then those that did on some repeats,
    last those without a value. The same repeat run twice counts once, with its mean. Equal ones
    keep their order. The best is chosen by the values that it is then compared with, so that its
    lead is somewhat flattered: the more configurations, the more.

    Sources: Student's paired t-test; a sign-flip permutation test beside it, which assumes only
    that chance differences are symmetric; Holm (Scand. J. Statistics 6, 1979) over all
    configurations that share two repeats with the best.
    """
    sign = 1 if direction == "minimize" else -1
    groups = [(runs, _summary(each, runs)) for each, runs in _groups(rows, repeated)]
    groups.sort(key=lambda each: _place(each[1], sign))
    if not groups:
        return []
    best_runs, best = groups[0]
    compared = [_compared(best_runs, runs, sign) for runs, _ in groups[1:]]
    tested = [i for i, each in enumerate(compared) if _p(each) is not None]
    for i, p in zip(tested, holm([_p(compared[i]) or 0.0 for i in tested]), strict=True):
        compared[i] = replace(compared[i], p=p, told_apart=p < LEVEL)
    noun = "seed" if tuple(repeated) == ("/seed",) else "repeat"
    rest = [
        replace(each, against_best=None if each.mean is None else comparison)
        for (_, each), comparison in zip(groups[1:], compared, strict=True)
    ]
    rest = [replace(each, verdict=_verdict_of(each, noun)) for each in rest]
    return [replace(best, verdict=_verdict_of_best(best, rest, noun)), *rest]


def _groups(rows: Sequence[Row], repeated: Sequence[str]) -> list[tuple[Parameters, Runs]]:
    parameters: dict[Hashable, Parameters] = {}
    runs: dict[Hashable, dict[Hashable, list[float | None]]] = {}
    for row in rows:
        kept = {pointer: v for pointer, v in row.parameters.items() if pointer not in repeated}
        key = identity(kept)
        repeat = identity({p: v for p, v in row.parameters.items() if p in repeated})
        value = row.value if row.value is not None and abs(row.value) < LARGEST else None
        parameters.setdefault(key, kept)
        runs.setdefault(key, {}).setdefault(repeat, []).append(value)
    return [
        (parameters[key], {repeat: _mean(values) for repeat, values in found.items()})
        for key, found in runs.items()
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one is: what diverged once has diverged."""
    finite = [v for v in values if v is not None]
    if len(finite) < len(values) or not finite:
        return None
    return min(max(fmean(finite), min(finite)), max(finite))  # of equal values exactly that


def _summary(parameters: Parameters, runs: Runs) -> Ranked:
    values = [v for v in runs.values() if v is not None]
    sd = stdev(values) if len(values) > 1 else None
    lost = len(runs) - len(values)
    return Ranked(parameters, len(values), lost, _mean(values), sd, None, "")


def _place(each: Ranked, sign: int) -> tuple[int, float]:
    if each.mean is None:
        return 2, 0.0
    return int(each.diverged > 0), sign * each.mean


def _compared(best: Runs, other: Runs, sign: int) -> Comparison:
    pairs = [
        (a, b)
        for repeat, a in best.items()
        if a is not None and (b := other.get(repeat)) is not None
    ]
    n = len(pairs)
    if n == 0:
        return Comparison(0)
    differences = [sign * (b - a) for a, b in pairs]
    mean, level = fmean(differences), abs(fmean(a for a, _ in pairs))
    relative = mean / level if level > 0 and math.isfinite(mean / level) else None
    if n == 1:
        return Comparison(1, mean, relative)
    sd = stdev(differences)
    rounding = 1e-12 * max(max(abs(a), abs(b)) for a, b in pairs)
    half = quantile(0.95, n - 1) * sd / math.sqrt(n)
    p_t = two_sided(mean / sd * math.sqrt(n), n - 1) if sd > rounding else None
    p_flip = flipped(differences) if sd > rounding or abs(mean) > rounding else 1.0
    return Comparison(n, mean, relative, (mean - half, mean + half), p_t, p_flip)


def _p(comparison: Comparison) -> float | None:
    return comparison.p_flip if comparison.p_t is None else comparison.p_t


def _verdict_of_best(best: Ranked, rest: Sequence[Ranked], noun: str) -> str:
    if best.mean is None:
        return "no configuration has a value: all diverged"
    second = rest[0] if rest else None
    if second is None or second.against_best is None:
        return f"the only configuration with a value{_lost(best, noun)}"
    named = described(_differing(second.parameters, best.parameters))
    return _said("better", f"than {named}", second.against_best, noun) + _lost(best, noun)


def _verdict_of(each: Ranked, noun: str) -> str:
    if each.against_best is None:
        return f"diverged on {_count(each.diverged, noun)}"
    return _said("worse", "than the best", each.against_best, noun) + _lost(each, noun)


def _said(word: str, than: str, comparison: Comparison, noun: str) -> str:
    difference, p = comparison.difference, comparison.p
    over = f"over {_count(comparison.pairs, noun)}"
    if difference is None:
        return f"{word} {than} by its mean, but not compared: no {noun} in common"
    if difference < 0:  # the means may be of other repeats than those in common
        word = {"better": "worse", "worse": "better"}[word]
    amount = f"{abs(difference):.3g}"
    if comparison.relative is not None:
        percent = 100 * abs(comparison.relative)
        amount += f" ({percent:.2g} %)" if percent < TENS else f" ({percent:.0f} %)"
    said = (
        f"{word} {than} by {amount}"
        if difference
        else f"on average neither better nor worse {than}"
    )
    if p is None:
        return f"{said}, but {over} only: chance may explain it"
    said = f"{said}, {'p < 0.001' if p < SMALL else f'p = {p:.2g}'} {over}"
    return said if comparison.told_apart else f"not told apart: {said}"


def _lost(each: Ranked, noun: str) -> str:
    runs = _count(each.diverged + each.n, noun)
    return f"; diverged on {each.diverged} of {runs}" if each.diverged else ""


def _count(runs: int, noun: str) -> str:
    return f"{runs} {noun}{'' if runs == 1 else 's'}"


def described(parameters: Mapping[str, JsonValue]) -> str:
    """Parameters in a sentence: `/batch_size = 32, /seed = 1`."""
    return ", ".join(f"{p} = {_short(v)}" for p, v in parameters.items()) or "the template itself"


def _differing(parameters: Parameters, others: Mapping[str, JsonValue]) -> Parameters:
    """The fields that are not as in another configuration."""
    return {
        pointer: value
        for pointer, value in parameters.items()
        if pointer not in others or identity(value) != identity(others[pointer])
    }


def _short(value: JsonValue) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
