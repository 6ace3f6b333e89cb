"""Judgments of sweeps for a terminal: rankings, what matters, values along parameters, picks."""

from collections.abc import Iterator, Mapping

from rich.markup import escape
from rich.table import Table

from stepsize.columns import names, number, plain, short
from stepsize.judgments import (
    Bins,
    Comparison,
    Importances,
    Marginal,
    Marginals,
    Pair,
    Pick,
    Ranked,
    Ranking,
)
from stepsize.report import plain_table

BAR = 20
"""Letters of a share of 100 %."""

WORTH = 0.01
"""Interactions of a smaller share are not shown."""

SMALL = 0.001

LEFT = {
    "stopped": ("stopped early",) * 2,
    "short": ("run that finds the rates", "runs that find the rates"),
    "unfinished": ("not finished",) * 2,
}
"""One of them, and several."""

Parts = Iterator[Table | str]


def ranking_parts(ranking: Ranking, sweep: str | None = None) -> Parts:
    """Configurations, one a line, the best first; what the best is worth; what is left out."""
    if not any(each.mean is not None for each in ranking.data):
        ended = "no job that ended has" if ranking.trials else "no job has"
        yield f"{ended} a {ranking.metric} yet"
    else:
        yield _ranking_table(ranking)
        more = ranking.configurations - len(ranking.data)
        if more > 0:
            yield f"... {more:,} more"
        best = ranking.data[0]
        yield ""
        yield f"The best is {escape(best.verdict)}."
        if len(best.jobs) == 1:
            yield f"Its job is {best.jobs[0]}."
        if all(each.n + each.diverged < 2 for each in ranking.data):  # noqa: PLR2004 - no repeats
            yield 'One seed each: with "/seed": \\[0, 1, 2] in the space chance can be told apart.'
    yield from _left_out(ranking.left_out, sweep)


def _ranking_table(ranking: Ranking) -> Table:
    pointers = names(each.parameters for each in ranking.data)
    again = any(each.n + each.diverged > 1 for each in ranking.data)
    repeats = "seeds" if ranking.repeated == ["/seed"] else "repeats"
    extra = ["sd", repeats] if again else []
    compared = ["behind", "p", "told apart"] if again else ["behind"]
    rows = [
        [
            number(each.mean) or "diverged",
            *(["" if each.sd is None else f"{each.sd:.2g}", _repeats(each)] if again else []),
            *(number(each.parameters.get(pointer)) for pointer in pointers),
            *_compared(each.against_best)[: len(compared)],
        ]
        for each in ranking.data
    ]
    metric = f"mean {ranking.metric}" if again else ranking.metric
    return plain_table([metric, *extra, *short(pointers), *compared], rows)


def _repeats(each: Ranked) -> str:
    return f"{each.n} of {each.n + each.diverged}" if each.diverged else str(each.n)


def _compared(comparison: Comparison | None) -> list[str]:
    if comparison is None or comparison.difference is None:
        return ["", "", ""]
    apart = "" if comparison.p is None else "yes" if comparison.told_apart else "no"
    return [f"{comparison.difference:.3g}", _p(comparison.p), apart]


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < SMALL else f"{p:.2g}"


def importance_parts(found: Importances, sweep: str | None = None) -> Parts:
    """Parameters, one a line, with a bar of each one's share; then what two have together."""
    if found.data:
        titles = short([each.parameter for each in found.data])
        rows = [
            (title, f"{each.share:.0%}", "█" * round(BAR * each.share), _p(each.p), str(each.n))
            for title, each in zip(titles, found.data, strict=True)
        ]
        yield plain_table(("parameter", "share", "", "p", "trials"), rows)
    else:
        yield f"no parameter can be given a share of {found.metric} yet"
    if together := [each for each in found.interactions if each.share >= WORTH]:
        yield ""
        rows_ = [(" x ".join(short(each.parameters)), f"{each.share:.0%}") for each in together]
        yield plain_table(("two together, beyond each alone", "share"), rows_)
    if found.warnings or _counted(found.left_out):
        yield ""
    for warning in found.warnings:
        yield f"note: {escape(warning)}"
    yield from _left_out(found.left_out, sweep)


def marginal_parts(found: Marginals, sweep: str | None = None) -> Parts:
    """For each parameter a table with a line a value, or a range of values."""
    titles = short([each.parameter for each in found.data])
    for i, (title, marginal) in enumerate(zip(titles, found.data, strict=True)):
        if i:
            yield ""
        yield _marginal_table(title, marginal)
    if not found.data:
        yield "no job has ended yet"
    yield from _left_out(found.left_out, sweep)


def _marginal_table(title: str, marginal: Marginal) -> Table:
    columns = {
        "mean": marginal.mean,
        "best": marginal.best,
        "25 %": marginal.lower,
        "median": marginal.median,
        "75 %": marginal.upper,
    }
    counts = {"trials": marginal.n}
    if any(marginal.diverged):
        counts["diverged"] = marginal.diverged
    cells = [_bins(marginal.bins), *(map(number, each) for each in [*counts.values()])]
    cells += [map(number, each) for each in columns.values()]
    return plain_table((title, *counts, *columns), zip(*cells, strict=True))


def pair_parts(found: Pair, sweep: str | None = None) -> Parts:
    """The means, a line for each value of the one and a column for each of the other."""
    x, y = short([found.x, found.y])
    across = _bins(found.x_bins)
    rows = [
        [at, *(_mean(*cell) for cell in zip(mean, diverged, strict=True))]
        for at, mean, diverged in zip(_bins(found.y_bins), found.mean, found.diverged, strict=True)
    ]
    yield f"mean {found.metric}: {escape(y)} down, {escape(x)} across"
    yield plain_table((y, *across), rows)
    yield from _left_out(found.left_out, sweep)


def _mean(mean: float | None, diverged: int) -> str:
    return "diverged" if mean is None and diverged else number(mean)


def _bins(bins: Bins) -> list[str]:
    return [
        f"{others:,} others" if others else str(plain(value)) if low is None else _span(low, high)
        for value, low, high, others in zip(
            bins.value, bins.low, bins.high, bins.others, strict=True
        )
    ]


def _span(low: float, high: float | None) -> str:
    return number(low) if low == high else f"{number(low)} .. {number(high)}"


def pick_parts(found: Pick) -> Parts:
    """Settings of range tests, the picked one first, and why it is."""
    if not found.settings:
        yield "no range test has ended yet"
    else:
        pointers = names(each.parameters for each in found.settings)
        rows = [
            [
                *(number(each.parameters.get(pointer)) for pointer in pointers),
                number(each.lowest),
                number(each.stable_lr) + ("+" if each.open_ended else ""),
                number(each.max_lr),
                each.status,
                "" if each.seconds is None else f"{each.seconds:.2g}",
            ]
            for each in found.settings
        ]
        titles = ("lowest loss", "stable to", "max_lr", "status", "seconds")
        yield plain_table((*short(pointers), *titles), rows)
        yield ""
        yield f"{escape(found.why)}."
    if found.chosen and found.chosen.jobs:
        job = found.chosen.jobs[0]
        yield f'Train with it: "max_lr": {{"range_test": "{job}"}}'
    yield from _left_out(found.left_out)


def _left_out(counts: Mapping[str, int], sweep: str | None = None) -> Parts:
    if some := _counted(counts):
        hint = f" (`stepsize sweep-results {sweep}` has all)" if sweep else ""
        yield f"left out: {some}{hint}"


def _counted(counts: Mapping[str, int]) -> str:
    known = {why: LEFT.get(why, (why, why))[n != 1] for why, n in counts.items()}
    return ", ".join(f"{n:,} {known[why]}" for why, n in counts.items() if n)
