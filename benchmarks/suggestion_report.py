"""Scores suggested learning rates against a grid of trainings, and prints the scores."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from outcomes import Record

from schedules.analysis import Analysis, Family, analyse
from schedules.analysis.compat import compat
from schedules.values import F64

OURS = "stepsize"
DEFAULT = "1e-3, always"
RULES = {
    "valley": "fastai valley",
    "slide": "fastai slide",
    "minimum": "fastai minimum / 10",
    "steep": "fastai steep",
    "torch_lr_finder": "torch-lr-finder",
    "lightning": "Lightning",
    "ignite": "ignite",
}
MARKS = {"tuned on": "", "held out": " *", "new": " **"}
"""Of the workloads that the rule was chosen by, and of those that were kept out of it."""

CLASSES = 10
"""Of every dataset used here."""

DIVISORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15)


@dataclass(frozen=True)
class Case:
    """A workload under a schedule, and what training it led to at each rate.

    Attributes:
        rates: ascending, shape (n,).
        loss: mean over seeds of the final training loss, shape (n,).
        error: the same of the validation error.
    """

    workload: str
    schedule: str
    family: Family
    part: str
    rates: F64
    loss: F64
    error: F64

    @property
    def use(self) -> str:
        """What the rate is: a peak that is climbed to, or the one that a run begins with."""
        return "peak" if self.schedule in {"one_cycle", "triangular"} else "first"

    def best(self) -> float:
        """The rate with the lowest loss."""
        return float(self.rates[self.loss.argmin()])

    def regret(self, lr: float) -> tuple[float, float]:
        """Excess loss, as a share of the descent, and excess error; straight in log lr.

        The descent is from guessing, log(classes), to the best loss of all rates: of losses near
        zero, ratios say little.
        """
        x, grid = np.log(lr), np.log(self.rates)
        loss, error = (float(np.interp(x, grid, y)) for y in (self.loss, self.error))
        best = float(self.loss.min())
        return (loss - best) / (np.log(CLASSES) - best), error - float(self.error.min())


@dataclass(frozen=True)
class Test:
    """A range test: the rates of its ramp, and the losses of each repeat, NaN if not finite."""

    workload: str
    lr: F64
    losses: Sequence[F64]

    def analysis(self, family: Family) -> Analysis:
        """By the rules as they are now."""
        return analyse(self.lr, self.losses, family=family)

    def peers(self) -> Iterator[Mapping[str, float | None]]:
        """What other finders suggest after one run, for each repeat."""
        for losses in self.losses:
            yield asdict(compat(self.lr, losses))


@dataclass(frozen=True)
class Score:
    """How far a rule's suggestion was from the best; None where it had none."""

    rule: str
    case: Case
    lr: float | None

    def regret(self) -> tuple[float, float] | None:
        """See `Case.regret`."""
        return None if self.lr is None else self.case.regret(self.lr)


def tests_of(records: Iterable[Record]) -> list[Test]:
    """The range tests among the records."""
    return [
        Test(
            record["workload"],
            np.geomspace(record["start"], record["end"], record["planned"]),
            [np.array(losses, dtype=np.float64) for losses in record["losses"]],
        )
        for record in records
        if record["kind"] == "range_test"
    ]


def scores(cases: Sequence[Case], tests: Sequence[Test]) -> Iterator[Score]:
    """Every rule on every range test, for each schedule of its workload."""
    families = {case.workload: case.family for case in cases}
    for test in tests:
        if test.workload not in families:
            continue
        suggestion = test.analysis(families[test.workload]).suggestion
        peers = list(test.peers())
        for case in cases:
            if case.workload != test.workload:
                continue
            ours = None
            if suggestion is not None:
                suggested = suggestion.schedules[case.schedule]
                ours = suggested.get("max_lr", suggested.get("lr"))
            yield Score(OURS, case, ours)
            yield Score(DEFAULT, case, 1e-3)
            for each in peers:
                for rule, lr in each.items():
                    yield Score(RULES.get(rule, rule), case, lr)


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, numbers to the right."""
    rule = ["---", *("---:" for _ in headers[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headers, rule, *rows)) + "\n"


def quantiles(regrets: Sequence[tuple[float, float]]) -> list[str]:
    """Median and 95th percentile of the excess loss in % and of the excess error in points."""
    return [
        f"{np.quantile(each, q):.2f}" for each in 100 * np.array(regrets).T for q in (0.5, 0.95)
    ]


QUANTILES = ("loss % (median)", "(95 %)", "error points (median)", "(95 %)")


def by_rule(found: Sequence[Score]) -> str:
    """A line a rule: how often it answered, and how good the answers were."""
    rules: dict[str, list[Score]] = defaultdict(list)
    for score in found:
        rules[score.rule].append(score)
    rows = []
    for rule, each in rules.items():
        answers = [regret for score in each if (regret := score.regret()) is not None]
        share = f"{len(answers)} of {len(each)}"
        rows.append([rule, share, *(quantiles(answers) if answers else "----")])
    return markdown(("rule", "answers", *QUANTILES), rows)


def by_kind(found: Sequence[Score]) -> str:
    """A line a rule: median and 95 % of the excess error under each schedule and optimizer."""
    kinds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in found:
        if (regret := score.regret()) is not None:
            kind = f"{score.case.schedule}, {score.case.family}"
            kinds[score.rule][kind].append(100 * regret[1])
    columns = sorted({column for each in kinds.values() for column in each})
    rows = [
        [
            rule,
            *(f"{np.median(each[c]):.2f} / {np.quantile(each[c], 0.95):.2f}" for c in columns),
        ]
        for rule, each in kinds.items()
    ]
    return markdown(("rule", *columns), rows)


def by_case(cases: Sequence[Case], found: Sequence[Score]) -> str:
    """A line a workload and schedule: the best there is, and what our suggestions came to."""
    rows = []
    for case in cases:
        ours = [s for s in found if s.rule == OURS and s.case is case and s.lr is not None]
        regrets = [regret for s in ours if (regret := s.regret()) is not None]
        rates = sorted(s.lr for s in ours if s.lr is not None)
        rows.append(
            [
                f"{case.workload}{MARKS[case.part]}",
                case.schedule,
                f"{case.best():.2g}",
                f"{case.loss.min():.3g}",
                f"{100 * case.error.min():.2f} %",
                f"{rates[0]:.2g} - {rates[-1]:.2g}" if rates else "-",
                *(quantiles(regrets)[::2] if regrets else "--"),
            ]
        )
    headers = (
        *("workload", "schedule", "best lr", "its loss", "least error"),
        *("suggested", "excess loss", "excess error"),
    )
    return markdown(headers, rows)


Limit = Callable[[Analysis], float | None]


def edge(analysis: Analysis) -> float | None:
    """Where the loss has come back up."""
    return analysis.landmarks.lr_edge


def edge_or_ragged(analysis: Analysis) -> float | None:
    """The same, or where the loss turns ragged before."""
    marks = analysis.landmarks
    known = [lr for lr in (marks.lr_edge, marks.lr_ragged) if lr is not None]
    return min(known, default=None)


def minimum(analysis: Analysis) -> float | None:
    """Where the smooth curve is lowest."""
    return analysis.landmarks.lr_min


LIMITS: dict[str, Limit] = {
    "edge": edge,
    "min(edge, ragged)": edge_or_ragged,
    "lowest loss": minimum,
}


def limits(cases: Sequence[Case], tests: Sequence[Test]) -> str:
    """A line a workload and schedule: landmarks over the best rate, for each range test."""
    rows = []
    for case in cases:
        analyses = [t.analysis(case.family) for t in tests if t.workload == case.workload]
        cells = [
            " ".join(
                "-" if (lr := limit(a)) is None else f"{lr / case.best():.2g}" for a in analyses
            )
            for limit in LIMITS.values()
        ]
        rows.append([case.workload, case.schedule, f"{case.best():.3g}", *cells])
    return markdown(("workload", "schedule", "best lr", *(f"{n} / best" for n in LIMITS)), rows)


def divisors(cases: Sequence[Case], tests: Sequence[Test]) -> str:
    """A line a landmark, family and use: the excess error, in points, of training below it."""
    rows = []
    for name, limit in LIMITS.items():
        for family, use in sorted({(case.family, case.use) for case in cases}):
            landmarks = [
                (case, lr)
                for case in cases
                for test in tests
                if (case.family, case.use, case.workload) == (family, use, test.workload)
                and (lr := limit(test.analysis(family))) is not None
            ]
            errors = [
                [100 * case.regret(lr / divisor)[1] for case, lr in landmarks]
                for divisor in DIVISORS
            ]
            cells = [f"{np.mean(each):.2f} / {np.quantile(each, 0.95):.2f}" for each in errors]
            rows.append([f"{name}, {family}, {use}", *cells])
    return markdown(("landmark", *map(str, DIVISORS)), rows)


def report(cases: Sequence[Case], tests: Sequence[Test]) -> Iterator[str]:
    """How good the rules are, as parts of a Markdown page."""
    found = list(scores(cases, tests))
    yield "### All workloads\n"
    yield by_rule(found)
    for part in MARKS:
        yield f"### {part.capitalize()}\n"
        yield by_rule([score for score in found if score.case.part == part])
    yield "### By schedule and optimizer: median / 95 % of the excess error, in points\n"
    yield by_kind(found)
    yield "### The same without those that the rule was chosen by\n"
    yield by_kind([score for score in found if score.case.part != "tuned on"])
    yield "### By workload (* held out, ** new)\n"
    yield by_case(cases, found)


def tuning(cases: Sequence[Case], tests: Sequence[Test]) -> Iterator[str]:
    """What the rules were chosen by, without the workloads that are held out."""
    cases = [case for case in cases if case.part == "tuned on"]
    yield "### Landmarks of each range test over the best rate\n"
    yield limits(cases, tests)
    yield "### Excess error at landmark / divisor, in points: mean / 95 %\n"
    yield divisors(cases, tests)
