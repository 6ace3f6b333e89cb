"""What a server says of a sweep's trials: ranked, what matters, values along parameters, a pick."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from stepsize.answers import Answer
from stepsize.series import needed

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


class Judgment(Answer):
    """A table: of rows with names, as a data frame of pandas, in the output of a cell."""

    @property
    @abstractmethod
    def rows(self) -> list[Row]:
        """All of it side by side; parameters are called by their pointers."""

    def to_pandas(self) -> pd.DataFrame:
        """The same rows as a data frame of pandas."""
        frame: pd.DataFrame = needed("pandas", "to_pandas").DataFrame(self.rows)
        return frame

    def _repr_html_(self) -> str:
        from stepsize.judgment_html import judgment_html  # noqa: PLC0415 - only where displayed

        return judgment_html(self)


class _Judged(Judgment):
    """What most say; `left_out` counts the trials that were not judged, by the reason."""

    metric: str
    direction: str
    trials: int
    left_out: dict[str, int]


class Comparison(Answer):
    """A configuration against the best, over the repeats that both have a value for.

    `difference` is how much worse it is on average, with a 95 % `interval`; `p` that of the paired
    t-test (`p_t`), or where that has nothing to say of the sign-flip test (`p_flip`), corrected for
    all that are compared.
    """

    pairs: int
    difference: float | None = None
    relative: float | None = None
    interval: tuple[float, float] | None = None
    p_t: float | None = None
    p_flip: float | None = None
    p: float | None = None
    told_apart: bool = False


class Ranked(Answer):
    """A configuration with what its repeats came to; `verdict` is a sentence."""

    parameters: Row
    n: int
    diverged: int
    mean: float | None = None
    sd: float | None = None
    against_best: Comparison | None = None
    verdict: str
    jobs: list[str]

    @property
    def row(self) -> Row:
        """All of it side by side; parameters are called by their pointers."""
        own = self.model_dump(exclude={"parameters", "against_best", "jobs", "verdict"})
        best = self.against_best
        compared = (best or Comparison(pairs=0)).model_dump(exclude={"interval"})
        low, high = (best and best.interval) or (None, None)
        if best is None:
            compared = dict.fromkeys(compared)
        compared |= {"interval_low": low, "interval_high": high}
        rest = {"verdict": self.verdict, "jobs": " ".join(self.jobs)}
        return self.parameters | own | compared | rest


class Ranking(_Judged):
    """Configurations, the best first; `configurations` is how many there are, told or not."""

    repeated: list[str]
    configurations: int
    data: list[Ranked]

    @property
    def rows(self) -> list[Row]:
        """One for each configuration, the best first."""
        return [{"rank": place, **each.row} for place, each in enumerate(self.data, 1)]


class Importance(Answer):
    """The `share` of how the values differ that goes with a parameter alone."""

    parameter: str
    share: float
    p: float
    n: int


class Interaction(Answer):
    """The share that goes with two parameters together, beyond each alone."""

    parameters: tuple[str, str]
    share: float
    n: int


class Importances(_Judged):
    """Each parameter's share, the largest first; `warnings` say why they may mislead."""

    by: str
    data: list[Importance]
    interactions: list[Interaction]
    warnings: list[str]

    @property
    def rows(self) -> list[Row]:
        """One for each parameter, then for each two together."""
        alone = [
            {"parameters": each.parameter, "share": each.share, "p": each.p, "n": each.n}
            for each in self.data
        ]
        together = [
            {"parameters": " ".join(each.parameters), "share": each.share, "n": each.n}
            for each in self.interactions
        ]
        return [*alone, *together]


class Bins(Answer):
    """Values of a parameter, a column each: choices, or numbers from `low` to `high`.

    Where `others` is not 0, so many choices are together in the bin.
    """

    value: list[Any]
    low: list[float | None]
    high: list[float | None]
    others: list[int]

    @property
    def rows(self) -> list[Row]:
        """One for each."""
        names = ("value", "low", "high", "others")
        columns = zip(self.value, self.low, self.high, self.others, strict=True)
        return [dict(zip(names, row, strict=True)) for row in columns]


class Marginal(Answer):
    """What the values are along one parameter: columns, with a row a bin."""

    parameter: str
    bins: Bins
    n: list[int]
    diverged: list[int]
    mean: list[float | None]
    best: list[float | None]
    lower: list[float | None]
    median: list[float | None]
    upper: list[float | None]


class Marginals(_Judged):
    """What the values are along parameters, whatever the others are."""

    data: list[Marginal]

    @property
    def rows(self) -> list[Row]:
        """One for each value of each parameter, or range of values."""
        found = []
        for marginal in self.data:
            columns = marginal.model_dump(exclude={"parameter", "bins"})
            for i, at in enumerate(marginal.bins.rows):
                own = {name: column[i] for name, column in columns.items()}
                found.append({"parameter": marginal.parameter, **at, **own})
        return found


class Pair(_Judged):
    """What the values are along two parameters: `mean[i][j]` is of `y_bins` i and `x_bins` j."""

    x: str
    y: str
    x_bins: Bins
    y_bins: Bins
    n: list[list[int]]
    diverged: list[list[int]]
    mean: list[list[float | None]]
    best: list[list[float | None]]

    @property
    def rows(self) -> list[Row]:
        """One for each value of the one with each of the other."""
        found = []
        for i, down in enumerate(self.y_bins.rows):
            for j, across in enumerate(self.x_bins.rows):
                own = {
                    name: getattr(self, name)[i][j] for name in ("n", "diverged", "mean", "best")
                }
                x = {f"{self.x} {name}": value for name, value in across.items()}
                y = {f"{self.y} {name}": value for name, value in down.items()}
                found.append({**x, **y, **own})
        return found


class Setting(Answer):
    """What the range tests of one setting say; `jobs` have the curves to lay over each other."""

    parameters: Row
    status: str
    stable_lr: float | None = None
    open_ended: bool = False
    lowest: float | None = None
    max_lr: float | None = None
    iterations: float | None = None
    seconds: float | None = None
    jobs: list[str]

    @property
    def row(self) -> Row:
        """All of it side by side; parameters are called by their pointers."""
        own = self.model_dump(exclude={"parameters", "jobs"})
        return self.parameters | own | {"jobs": " ".join(self.jobs)}


class Pick(Judgment):
    """The setting to train with, None where no range test says, and why; of all, it comes first."""

    chosen: Setting | None = None
    why: str
    repeated: list[str]
    settings: list[Setting]
    left_out: dict[str, int]

    @property
    def rows(self) -> list[Row]:
        """One for each setting, the picked one first."""
        return [each.row for each in self.settings]
