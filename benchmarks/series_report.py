"""The document that the contest of series stores is written to."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Protocol

from series_readers import POINTS, Reads
from tables import machine

MIB = 2**20
MANY = 100


class Store(Protocol):
    """What came out on one database for one of the two: see `series_store.Store`."""

    name: str
    database: str
    rates: dict[int, list[float]]
    fresh: float
    compact: float | None
    reads: dict[int, Reads]
    memory: int


OPENING = """\
# How fast series go in and out

Written by `{command}` on {machine}. A point is one iteration, a loss and a rate. Everything went \
through the whole path: in from the worker's recorder to the committed row, out over HTTP; MLflow \
had its own client and server on the same machine and the same kind of database, within the same \
run. What stepsize gave back was compared with what had been recorded, to the bit.
"""

READ = ("view", "zoom", "summary", "304", "Arrow", "JSON")


def written_report(found: Sequence[Store], options: argparse.Namespace, command: str) -> str:
    """Markdown."""
    parts = [
        OPENING.format(command=command, machine=machine()),
        _goals(found, options),
        _rates(found, options),
        _reads(found, options),
        _costs(found),
    ]
    return "\n".join(parts)


def _table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join([f"**{title}**", "", *(f"| {' | '.join(row)} |" for row in lines), ""])


def _label(store: Store) -> str:
    return f"{store.name}, {store.database}"


def _rates(found: Sequence[Store], options: argparse.Namespace) -> str:
    rows = []
    for store in found:
        cells = [_spread(store.rates[count]) for count in options.writers]
        rows.append([_label(store), *cells])
    headers = ["points a second", *(f"{n} writer{'s'[: n > 1]}" for n in options.writers)]
    note = (
        f"{options.iterations:,} points of each writer of stepsize: the median of "
        f"{options.rounds} rounds (least to most)."
    )
    if any(store.name == "MLflow" for store in found):
        note += f" MLflow: {options.mlflow_iterations:,} points of all writers together, once."
    return _table("In", headers, rows) + f"\n{note}\n"


def _spread(rates: Sequence[float]) -> str:
    if len(rates) == 1:
        return f"{rates[0]:,.0f}"
    return f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def _reads(found: Sequence[Store], options: argparse.Namespace) -> str:
    rows = []
    for store in found:
        for size, reads in store.reads.items():
            cells = [_times(reads.timings.get(name)) for name in READ]
            rows.append([f"{_label(store)}, {size:,} points", *cells])
    headers = [
        "milliseconds: median (99 % within)",
        f"view, {POINTS:,} rows",
        "the middle third",
        "figures",
        "nothing new (304)",
        "all rows, Arrow",
        "all rows, JSON",
    ]
    note = (
        f"One client and one connection, {options.views} requests each ({options.whole} of all "
        "rows), views compressed as a browser asks for them. MLflow's view is its chart's: two "
        "requests, one for each quantity, of rows at even distances, not the extremes."
    )
    return _table("Out", headers, rows) + f"\n{note}\n"


def _times(seconds: Sequence[float] | None) -> str:
    if not seconds:
        return ""
    middle = f"{1e3 * median(seconds):,.1f}"
    if len(seconds) < 2:  # noqa: PLR2004 - of one there is no spread
        return middle
    return f"{middle} ({1e3 * quantiles(seconds, n=100, method='inclusive')[98]:,.1f})"


def _costs(found: Sequence[Store]) -> str:
    rows = [
        [
            _label(store),
            f"{store.fresh:,.1f}",
            "" if store.compact is None else f"{store.compact:,.1f}",
            f"{store.memory / MIB:,.0f}",
        ]
        for store in found
    ]
    headers = ["", "bytes a point, as written", "made compact", "server's memory at most, MiB"]
    note = (
        "Bytes are those of the whole database, less those of an empty one and those that are "
        "free in it; compact, they have the summaries for views with them. Memory is the largest "
        "resident set of each of the server's processes, added up."
    )
    return _table("Costs", headers, rows) + f"\n{note}\n"


@dataclass(frozen=True)
class Goal:
    """What a figure is to be."""

    what: str
    bound: float
    measured: float
    least: bool = False
    """The bound is from below."""

    def row(self, database: str) -> list[str]:
        """Of the table."""
        met = self.measured >= self.bound if self.least else self.measured <= self.bound
        digits = 0 if self.measured >= MANY else 1
        sign = ">=" if self.least else "<="
        return [
            f"{database}: {self.what}",
            f"{sign} {self.bound:,.0f}",
            f"{self.measured:,.{digits}f}",
            "yes" if met else "no",
        ]


def _goals(found: Sequence[Store], options: argparse.Namespace) -> str:
    rows = []
    for store in (each for each in found if each.name == "stepsize"):
        times = {
            (size, name): 1e3 * median(seconds)
            for size, reads in store.reads.items()
            for name, seconds in reads.timings.items()
        }
        first = options.sizes[0]
        rate = median(store.rates[options.writers[0]])
        goals = [
            Goal("points a second in, one writer", 1_000_000, rate, least=True),
            *(Goal(f"view of {n:,} points, ms", 10, times[n, "view"]) for n in options.sizes),
            Goal(f"all {first:,} rows as Arrow, ms", 100, times[first, "Arrow"]),
            Goal(f"all {first:,} rows as JSON, ms", 200, times[first, "JSON"]),
            Goal("bytes a point", 6, store.compact or 0),
        ]
        peers = (each for each in found if each.name == "MLflow")
        for peer in (each for each in peers if each.database == store.database):
            times_faster = rate / median(peer.rates[options.writers[0]])
            goals.append(Goal("times MLflow's points a second in", 400, times_faster, least=True))
        rows += [goal.row(store.database) for goal in goals]
    return _table("Goals", ["", "goal", "measured", "met"], rows)
