"""Reads series over HTTP as clients do, from stepsize and from MLflow, with a watch in hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa

POINTS = 1_000
"""Rows of a view."""

DEADLINE = 600.0
"""Seconds that making series compact may take."""

ARROW = "application/vnd.apache.arrow.stream"
MLFLOW_PAGE = 25_000
"""Values that MLflow gives at once."""

PLAIN = {"Accept-Encoding": "identity"}
"""All rows are read as they are: to compress them costs more than this machine's network."""

Seconds = list[float]


@dataclass
class Reads:
    """Seconds of each request for each thing that was read, by its name."""

    timings: dict[str, Seconds] = field(default_factory=dict)

    def take(self, name: str, times: int, ask: Callable[[], object]) -> None:
        """Asks so many times, after a few that do not count."""
        for _ in range(min(3, times)):
            ask()
        found = self.timings.setdefault(name, [])
        for _ in range(times):
            began = time.perf_counter()
            ask()
            found.append(time.perf_counter() - began)


def client(url: str) -> httpx.Client:
    """One connection that stays open."""
    return httpx.Client(base_url=url, timeout=600)


def get(http: httpx.Client, path: str, **more: Any) -> httpx.Response:
    """The answer, read to its end."""
    return http.get(path, **more).raise_for_status()


def views(reads: Reads, http: httpx.Client, job: str, size: int, times: int) -> None:
    """Views of a whole series and of a third of it, and whether anything is new."""
    path = f"/v1/jobs/{job}/series?names=loss,lr"
    third = f"&start={size // 3}&stop={2 * size // 3}"
    reads.take("view", times, lambda: get(http, f"{path}&points={POINTS}"))
    reads.take("zoom", times, lambda: get(http, f"{path}&points={POINTS}{third}"))
    known = {"If-None-Match": get(http, f"{path}&points={POINTS}").headers["ETag"]}
    reads.take("304", times, lambda: _unchanged(http, f"{path}&points={POINTS}", known))
    reads.take("summary", times, lambda: get(http, f"/v1/jobs/{job}/series/summary"))


def _unchanged(http: httpx.Client, path: str, known: dict[str, str]) -> None:
    if (status := http.get(path, headers=known).status_code) != httpx.codes.NOT_MODIFIED:
        raise RuntimeError(f"{path} was answered with {status}, not 304")


def everything(reads: Reads, http: httpx.Client, job: str, times: int) -> None:
    """All rows, in each of two forms; `JSON, parsed` is what the client makes of it."""
    path = f"/v1/jobs/{job}/series?names=loss,lr"
    reads.take("Arrow", times, lambda: get(http, path, headers={"Accept": ARROW, **PLAIN}))
    reads.take("JSON", times, lambda: get(http, path, headers=PLAIN))


def check(http: httpx.Client, job: str, expected: dict[str, Any]) -> None:
    """Whether all that was recorded is there, to the bit, in both forms."""
    path = f"/v1/jobs/{job}/series?names=loss,lr"
    arrow = get(http, path, headers={"Accept": ARROW, **PLAIN}).content
    table = pa.ipc.open_stream(arrow).read_all()
    columns = orjson.loads(get(http, path, headers=PLAIN).content)["columns"]
    for name, values in expected.items():
        same = np.asarray(table[name]).tobytes() == values.tobytes()
        if not same or columns[name] != values.astype(float).tolist():
            raise RuntimeError(f"{name} is not what was recorded")


def mlflow(reads: Reads, http: httpx.Client, run: str, size: int, times: int) -> None:
    """The same from MLflow's server, where each quantity is asked for by itself."""
    view = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
    third = {"start_step": size // 3, "end_step": 2 * size // 3}
    for name, more in (("view", {}), ("zoom", third)):
        asked = {"run_ids": run, "max_results": POINTS, **more}
        reads.take(
            name,
            times,
            lambda asked=asked: [
                get(http, view, params={**asked, "metric_key": key}) for key in ("loss", "lr")
            ],
        )
    reads.take("JSON", 1, lambda: [_history(http, run, key, size) for key in ("loss", "lr")])


def _history(http: httpx.Client, run: str, key: str, size: int) -> None:
    asked = {"run_id": run, "metric_key": key, "max_results": MLFLOW_PAGE}
    found = 0
    for _ in count():
        answer = get(http, "/api/2.0/mlflow/metrics/get-history", params=asked, headers=PLAIN)
        page = answer.json()
        found += len(page["metrics"])
        if not page.get("next_page_token"):
            break
        asked["page_token"] = page["next_page_token"]
    if found != size:
        raise RuntimeError(f"MLflow gave {found} values of {key}, not {size}")
