"""Jobs side by side: which settings differ, how each ended, their curves in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stepsize.errors import StepsizeError
from stepsize.series import needed
from stepsize.values import Job

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from stepsize.reading import Reading
    from stepsize.series import Series

Along = Literal["iteration", "epoch", "time"]

RESULTS = ("val_accuracy", "val_loss", "train_loss", "diverged_at")
"""Numbers of a training's result that are worth a column."""

NOT_SETTINGS = {"kind", "name", "tags"}
"""Fields of a spec by which one is found, which change no number."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Jobs as they were when they were compared, in the order in which they were named."""

    jobs: Sequence[Job]
    client: Reading

    def __post_init__(self) -> None:
        if not self.jobs:
            raise StepsizeError("there is nothing to compare: name jobs")

    @cached_property
    def settings(self) -> dict[str, list[Any]]:
        """Every setting that is not the same in all jobs: its values, by JSON pointer.

        None stands for a setting that a job does not have.
        """
        flat = [dict(leaves(_settings(job.spec))) for job in self.jobs]
        names = dict.fromkeys(name for each in flat for name in each)
        found = {name: [each.get(name) for each in flat] for name in names}
        return {
            name: values
            for name, values in found.items()
            if any(value != values[0] for value in values[1:])
        }

    @cached_property
    def results(self) -> dict[str, list[Any]]:
        """What came of each job, None where it has no such number."""
        rows = [_results(job) for job in self.jobs]
        names = dict.fromkeys(name for row in rows for name in row)
        found = {name: [row.get(name) for row in rows] for name in names}
        return {
            name: values for name, values in found.items() if any(v is not None for v in values)
        }

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each job: id, name, state, the settings that differ, the results."""
        columns: dict[str, list[Any]] = {
            "job": [job.id for job in self.jobs],
            "name": [job.name for job in self.jobs],
            "state": [job.state for job in self.jobs],
            **self.settings,
            **self.results,
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_pandas(self) -> pd.DataFrame:
        """The same rows as a data frame of pandas."""
        return needed("pandas", "to_pandas").DataFrame(self.rows)

    def labels(self) -> list[str]:
        """What each curve is called: by the settings that differ, else by name or id."""
        last = [name.rpartition("/")[2] for name in self.settings]
        if not last:
            return [job.name or job.id for job in self.jobs]
        labels = []
        for index, job in enumerate(self.jobs):
            parts = [
                f"{name}={short(values[index])}"
                for name, values in zip(last, self.settings.values(), strict=True)
                if values[index] is not None
            ][:3]
            labels.append(", ".join(parts) or job.name or job.id)
        return labels

    def curves(
        self, name: str = "loss", *, along: Along = "iteration", points: int = 2000
    ) -> list[tuple[Any, Any]]:
        """For each job where its points lie and what they are, as arrays.

        A range test lies along its learning rates, unless trainings are compared with it.

        Raises:
            StepsizeError: a job does not say how long its epochs or its iterations are.
        """
        tests = self.are_range_tests
        found = []
        for job in self.jobs:
            names = (name, "lr") if tests else (name,)
            series = self.client.series(job, names, points=points)
            found.append((series.lr if tests else _places(job, series, along), series[name]))
        return found

    @property
    def are_range_tests(self) -> bool:
        """Whether all are, so that learning rates are what they lie along."""
        return all(job.kind == "range_test" for job in self.jobs)

    def plot(
        self,
        path: str | Path | None = None,
        *,
        name: str = "loss",
        along: Along = "iteration",
    ) -> Figure:
        """The curves in one picture, written to a PNG file too where one is named."""
        from stepsize import plots  # noqa: PLC0415 - matplotlib, only where it is drawn

        picture = plots.overlaid(self, name=name, along=along)
        if path is not None:
            plots.save(picture, path)
        return picture

    def _repr_html_(self) -> str:
        from stepsize.notebook import comparison_html  # noqa: PLC0415 - only where displayed

        return comparison_html(self)


def short(value: object) -> str:
    """A value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in NOT_SETTINGS}


def leaves(value: object, pointer: str = "") -> list[tuple[str, Any]]:
    """Numbers, words and lists of a spec by JSON pointer."""
    if not isinstance(value, Mapping) or not value:
        return [(pointer, value if value != {} else None)]
    return [leaf for name, each in value.items() for leaf in leaves(each, f"{pointer}/{name}")]


def _results(job: Job) -> dict[str, Any]:
    result = job.result or {}
    found = {name: result.get(name) for name in RESULTS}
    suggestion = (result.get("range_test") or result).get("suggestion") or {}
    return {
        **found,
        "base_lr": suggestion.get("base_lr"),
        "max_lr": suggestion.get("max_lr"),
        "iterations": result.get("iterations"),
        "seconds": result.get("seconds"),
    }


def _places(job: Job, series: Series, along: Along) -> Any:
    if along == "iteration":
        return series.iteration
    if along == "epoch":
        per = (job.resolved or {}).get("iterations_per_epoch")
        if not per:
            raise StepsizeError(f"{job.id} does not say yet how many iterations an epoch has")
        return (series.iteration + 1) / per
    if job.pace is None:
        raise StepsizeError(f"{job.id} does not say how fast it ran: it has not ended, or went on")
    return (series.iteration + 1) / job.pace
