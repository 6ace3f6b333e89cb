"""Answers about sweeps as CSV, for spreadsheets and data frames."""

import csv
import io
import json
from collections.abc import Iterable, Sequence

from pydantic import JsonValue

from api.judgment_answers import RankingOut
from api.sweep_answers import ResultOut

COMPARED = ("pairs", "difference", "relative", "p_t", "p_flip", "p", "told_apart")


def of_results(rows: Sequence[ResultOut]) -> str:
    """A row a job, with a column for each parameter and each number."""
    parameters = _names(row.parameters for row in rows)
    metrics = _names(row.metrics for row in rows)
    return _written(
        ["job", "number", "state", "stopped", *parameters, "value", *metrics],
        (
            [
                row.job,
                row.number,
                row.state,
                row.stopped,
                *(_cell(row.parameters.get(name)) for name in parameters),
                row.value,
                *(row.metrics.get(name) for name in metrics),
            ]
            for row in rows
        ),
    )


def of_ranking(ranking: RankingOut) -> str:
    """A row a configuration, the best first; jobs are separated by spaces."""
    parameters = _names(each.parameters for each in ranking.data)
    interval = ["interval_low", "interval_high"]
    return _written(
        [
            *("rank", *parameters, "n", "diverged", "mean", "sd"),
            *(*COMPARED, *interval, "verdict", "jobs"),
        ],
        (
            [
                place,
                *(_cell(each.parameters.get(name)) for name in parameters),
                each.n,
                each.diverged,
                each.mean,
                each.sd,
                *(getattr(each.against_best, name, None) for name in COMPARED),
                *((each.against_best and each.against_best.interval) or (None, None)),
                each.verdict,
                " ".join(each.jobs),
            ]
            for place, each in enumerate(ranking.data, 1)
        ),
    )


def _names(rows: Iterable[dict[str, JsonValue]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: JsonValue) -> object:
    """What is no text or number is JSON."""
    return json.dumps(value) if isinstance(value, bool | list | dict) else value


def _written(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(titles)
    writer.writerows(rows)
    return out.getvalue()
