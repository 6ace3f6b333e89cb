"""Recorded numbers as numpy columns, and as tables of others, imported when first needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepsize.answers import Answer
from stepsize.errors import StepsizeError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from numpy.typing import NDArray

ARROW = "application/vnd.apache.arrow.stream"


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
        if name not in self.columns:
            raise KeyError(f"no column {name!r}, only {', '.join(self.columns)}")
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

    def to_numpy(self) -> NDArray[np.float64]:
        """The same columns as one array, a row for each row."""
        import numpy as np  # noqa: PLC0415 - see the module

        return np.column_stack([*self.columns.values()])

    def to_pandas(self) -> pd.DataFrame:
        """The same columns as a data frame of pandas."""
        frame: pd.DataFrame = needed("pandas", "to_pandas").DataFrame(dict(self.columns))
        return frame

    def to_polars(self) -> pl.DataFrame:
        """The same columns as a data frame of polars."""
        frame: pl.DataFrame = needed("polars", "to_polars").DataFrame(dict(self.columns))
        return frame

    def to_arrow(self) -> pa.Table:
        """The same columns as a table of Arrow; what is not finite is nan, not null."""
        return needed("pyarrow", "to_arrow").table(dict(self.columns))

    def _repr_html_(self) -> str:
        from stepsize.notebook import columns_html  # noqa: PLC0415 - only where it is displayed

        return columns_html(self)


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


def series_of_arrow(stream: bytes, told: SeriesAnswer) -> Series:
    """The rows of an Arrow stream, as JSON would give them, with what a view `told` of them."""
    import numpy as np  # noqa: PLC0415 - see the module

    table = needed("pyarrow.ipc", "series").open_stream(stream).read_all()
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        values = table[name].to_numpy()
        if name != "iteration":
            values = values.astype(np.float64)
            values[~np.isfinite(values)] = np.nan
        columns[name] = values
    rows = columns["iteration"]
    return Series(
        columns=columns,
        job=told.job,
        total_points=len(rows),
        next_start=int(rows[-1]) + 1 if len(rows) else told.next_start,
        complete=told.complete,
        damaged=json.loads((table.schema.metadata or {}).get(b"damaged", b"[]")),
    )


def needed(package: str, what: str) -> Any:
    """A package that only some need.

    Raises:
        StepsizeError: it is not installed; the message has the command that does.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise StepsizeError(
            f"{what} needs {name}: pip install {name}, or 'stepsize[notebook]' for all of them"
        ) from error
