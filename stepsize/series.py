"""Recorded numbers as numpy columns; numpy and pandas are imported when they are first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepsize.errors import StepsizeError
from stepsize.values import Answer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class ColumnsAnswer(Answer):
    """Columns as they travel: what is not a finite number is null."""

    columns: dict[str, list[float | None]]


class SeriesAnswer(ColumnsAnswer):
    """The answer to a request for a job's series."""

    job: str
    total_points: int
    returned: int
    reduced: dict[str, Any] | None = None
    next_start: int
    complete: bool
    damaged: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of equal length by name; `columns.lr` is short for `columns["lr"]`."""

    columns: Mapping[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __getattr__(self, name: str) -> NDArray[Any]:
        columns: Mapping[str, NDArray[Any]] = self.__dict__.get("columns", {})
        if name not in columns:
            raise AttributeError(f"no column {name!r}, only {', '.join(columns)}")
        return columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def iteration(self) -> NDArray[np.int64]:
        """The optimizer update of each row, counted from 0."""
        return self.columns["iteration"]

    def to_pandas(self) -> pd.DataFrame:
        """The same columns as a data frame; needs pandas."""
        try:
            import pandas as pd  # noqa: PLC0415 - heavy, and only for those who ask
        except ImportError as error:
            raise StepsizeError("to_pandas needs pandas: pip install pandas") from error
        return pd.DataFrame(dict(self.columns))


@dataclass(frozen=True, eq=False)
class Series(Columns):
    """Rows of a job's series; `reduced` says how they were thinned out, None if they were not.

    `damaged` names stored chunks that the server could not read, whose rows are missing.
    """

    job: str
    total_points: int
    next_start: int
    complete: bool
    reduced: Mapping[str, Any] | None = None
    damaged: Sequence[Mapping[str, Any]] = ()


def columns_of(answer: ColumnsAnswer) -> dict[str, NDArray[Any]]:
    """int64 iterations and float64 everything else, with nan for null."""
    import numpy as np  # noqa: PLC0415 - heavy, and many commands need no array

    return {
        name: np.array(values, dtype=np.int64 if name == "iteration" else np.float64)
        for name, values in answer.columns.items()
    }


def series_of(answer: SeriesAnswer) -> Series:
    """The answer with its columns as arrays."""
    return Series(
        columns=columns_of(answer),
        job=answer.job,
        total_points=answer.total_points,
        next_start=answer.next_start,
        complete=answer.complete,
        reduced=answer.reduced,
        damaged=answer.damaged,
    )
