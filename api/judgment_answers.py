"""What clients are told of a sweep's parameters and settings once its trials have been judged."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.judging import LeftOut
from spec.sweeps import Direction
from sweeps.importance import Importance, Interaction
from sweeps.picking import Setting
from sweeps.ranking import Ranked
from sweeps.summaries import Bin, Marginal, Pair, Summary

Number = float | None
Grid = list[list[Number]]


class _FromValue(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class _Answer(BaseModel):
    """What all of them say."""

    metric: str
    direction: Direction
    trials: Annotated[int, Field(description="that were judged")]
    left_out: LeftOut


class ComparisonOut(_FromValue):
    """A configuration against the best, over the repeats that both have a value for."""

    pairs: int
    difference: Annotated[Number, Field(description="how much worse it is, on average")]
    relative: Annotated[Number, Field(description="as a share of the best's mean")]
    interval: Annotated[
        tuple[float, float] | None, Field(description="95 % confidence, of the difference")
    ]
    p_t: Annotated[Number, Field(description="of the paired t-test")]
    p_flip: Annotated[Number, Field(description="of the sign-flip permutation test")]
    p: Annotated[Number, Field(description="corrected for all that are compared (Holm)")]
    told_apart: Annotated[bool, Field(description="whether p is below .05")]


class RankedOut(_FromValue):
    """A configuration with what its repeats came to."""

    parameters: dict[str, JsonValue]
    n: Annotated[int, Field(description="repeats with a value")]
    diverged: Annotated[int, Field(description="repeats without one")]
    mean: Number
    sd: Annotated[Number, Field(description="of the sample; null below two values")]
    against_best: ComparisonOut | None
    verdict: str
    jobs: list[str]

    @classmethod
    def of(cls, ranked: Ranked, jobs: list[str]) -> Self:
        """With the jobs of all its repeats."""
        values = {name: getattr(ranked, name) for name in cls.model_fields if name != "jobs"}
        return cls.model_validate({**values, "jobs": jobs})


class RankingOut(_Answer):
    """Configurations, the best first."""

    repeated: Annotated[list[str], Field(description="what only repeats a configuration")]
    configurations: Annotated[int, Field(description="how many there are, told or not")]
    data: list[RankedOut]


class ImportanceOut(_FromValue):
    """How much of how the values differ goes with one parameter."""

    parameter: Annotated[str, Field(validation_alias="pointer")]
    share: Annotated[float, Field(description="of the variance, beyond what chance would explain")]
    p: Annotated[float, Field(description="of the F-test that it explains nothing")]
    n: Annotated[int, Field(description="trials that have it")]

    @classmethod
    def of(cls, found: Importance) -> Self:
        """From what was computed."""
        return cls.model_validate(found)


class InteractionOut(_FromValue):
    """How much goes with two parameters together, beyond each alone."""

    parameters: Annotated[tuple[str, str], Field(validation_alias="pointers")]
    share: float
    n: int

    @classmethod
    def of(cls, found: Interaction) -> Self:
        """From what was computed."""
        return cls.model_validate(found)


class ImportancesOut(_Answer):
    """Each parameter's share of the variance, the largest first."""

    by: Annotated[
        Literal["rank", "value"], Field(description="what varies: the values, or their ranks")
    ]
    data: list[ImportanceOut]
    interactions: Annotated[
        list[InteractionOut], Field(description="of each two with trials enough, the largest first")
    ]
    warnings: Annotated[list[str], Field(description="why the shares may mislead")]


class BinsOut(BaseModel):
    """Values of a parameter, a column each: choices, or numbers from `low` to `high`."""

    value: list[JsonValue]
    low: list[Number]
    high: list[Number]
    others: Annotated[
        list[int], Field(description="how many choices are together in a bin that is no single one")
    ]

    @classmethod
    def of(cls, bins: Sequence[Bin]) -> Self:
        """A row a bin."""
        return cls(
            value=[each.value for each in bins],
            low=[each.low for each in bins],
            high=[each.high for each in bins],
            others=[each.others for each in bins],
        )


class MarginalOut(BaseModel):
    """What the values are along one parameter: columns, with a row a bin."""

    parameter: str
    bins: BinsOut
    n: list[int]
    diverged: list[int]
    mean: list[Number]
    best: list[Number]
    lower: Annotated[list[Number], Field(description="quartile")]
    median: list[Number]
    upper: Annotated[list[Number], Field(description="quartile")]

    @classmethod
    def of(cls, found: Marginal) -> Self:
        """From what was computed."""
        lower, median, upper = ([_quartile(each, i) for each in found.cells] for i in range(3))
        return cls(
            parameter=found.pointer,
            bins=BinsOut.of(found.bins),
            n=[each.n for each in found.cells],
            diverged=[each.diverged for each in found.cells],
            mean=[each.mean for each in found.cells],
            best=[each.best for each in found.cells],
            lower=lower,
            median=median,
            upper=upper,
        )


class MarginalsOut(_Answer):
    """What the values are along parameters, whatever the others are."""

    data: list[MarginalOut]


class PairOut(_Answer):
    """What the values are along two parameters: a row for each bin of `y`, a column for one of `x`.

    Trials that have both of them count.
    """

    x: str
    y: str
    x_bins: BinsOut
    y_bins: BinsOut
    n: list[list[int]]
    diverged: list[list[int]]
    mean: Grid
    best: Grid

    @staticmethod
    def columns(found: Pair) -> dict[str, object]:
        """What was computed, whose rows are those of `y`."""
        names = ("n", "diverged", "mean", "best")
        return {
            "y": found.pointers[0],
            "x": found.pointers[1],
            "y_bins": BinsOut.of(found.rows),
            "x_bins": BinsOut.of(found.columns),
            **{name: [[getattr(c, name) for c in row] for row in found.cells] for name in names},
        }


class SettingOut(_FromValue):
    """What the range tests of one setting say."""

    parameters: dict[str, JsonValue]
    status: str
    stable_lr: Annotated[
        Number, Field(description="the edge, or where the ramp ended while it was still stable")
    ]
    open_ended: Annotated[bool, Field(description="whether it was still stable there")]
    lowest: Annotated[
        Number, Field(description="loss without noise, on average over repeats; null: not known")
    ]
    max_lr: Annotated[Number, Field(description="that its range test suggests")]
    iterations: Annotated[Number, Field(description="of a job, on average")]
    seconds: Annotated[Number, Field(description="of computing of a job, on average")]
    jobs: Annotated[list[str], Field(description="whose curves are to be laid over each other")]

    @classmethod
    def of(
        cls, setting: Setting, jobs: list[str], iterations: float | None, seconds: float | None
    ) -> Self:
        """With the jobs of all its repeats."""
        own = {"jobs": jobs, "iterations": iterations, "seconds": seconds}
        values = {name: getattr(setting, name) for name in cls.model_fields if name not in own}
        return cls.model_validate({**values, **own})


class PickOut(BaseModel):
    """The setting to train with, and why."""

    chosen: Annotated[SettingOut | None, Field(description="null where no range test says")]
    why: str
    repeated: Annotated[list[str], Field(description="what only repeats a setting")]
    settings: Annotated[list[SettingOut], Field(description="all of them, the chosen one first")]
    left_out: LeftOut


def _quartile(summary: Summary, which: int) -> float | None:
    return None if summary.quartiles is None else summary.quartiles[which]
