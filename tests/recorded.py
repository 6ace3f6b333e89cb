"""A server that is a function: jobs with what they have recorded, read as the real one is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from stepsize import Client

URL = "http://stepsize.test"
PARTS: dict[str, Any] = {
    "model": {"name": "mlp", "params": {"hidden": [64]}},
    "data": {"name": "digits"},
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
    "batch_size": 32,
}
CREATED = "2026-01-31T12:00:00Z"


def training(job: str = "job_t", **changes: Any) -> dict[str, Any]:
    """A finished training of 300 iterations, 100 an epoch."""
    spec = {
        "kind": "training",
        **PARTS,
        "schedule": {"policy": "constant", "lr": 0.1},
        "length": {"epochs": 3},
        "tags": {"project": "demo"},
        **changes.pop("spec", {}),
    }
    return {
        "id": job,
        "kind": "training",
        "state": "succeeded",
        "name": "digits",
        "spec": spec,
        "resolved": {"iterations_per_epoch": 100},
        "progress": {"iteration": 300, "iterations": 300},
        "result": {"iterations": 300, "seconds": 3.0, "val_loss": 0.25, "val_accuracy": 0.9},
        "created_at": CREATED,
        "started_at": CREATED,
        "finished_at": "2026-01-31T12:00:03Z",
        **changes,
    }


def range_test(job: str = "job_r", **changes: Any) -> dict[str, Any]:
    """A finished range test of two repeats."""
    ramp = {"start": 1e-5, "end": 10.0, "iterations": 100, "ramp": "exponential"}
    spec = {"kind": "range_test", **PARTS, "range": ramp, "repeats": 2}
    suggestion = {"base_lr": 0.01, "max_lr": 0.1, "fixed_lr": 0.05}
    return {
        **training(job),
        "kind": "range_test",
        "name": None,
        "spec": spec,
        "result": {"status": "ok", "suggestion": suggestion, "iterations": 200, "seconds": 1.0},
        "progress": {"iteration": 200, "iterations": 200},
        **changes,
    }


Rows = Mapping[str, np.ndarray[Any, Any]]


def falling(n: int, *, noise: int = 0) -> Rows:
    """Losses and rates of so many iterations."""
    x = np.arange(n)
    wobble = np.random.default_rng(noise).normal(0, 0.01, n)
    return {"iteration": x, "loss": 2.3 * np.exp(-x / 80) + 0.2 + wobble, "lr": np.full(n, 0.1)}


def checked(*iterations: int) -> Rows:
    """Validation after these."""
    x = np.array(iterations)
    return {"iteration": x, "val_loss": 1 / (1 + x / 100), "val_accuracy": x / (x + 100)}


@dataclass
class Recorded:
    """Jobs, and of each its rows by repeat; `asked` is every request."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[tuple[str, int], list[Rows]] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)

    def add(self, job: dict[str, Any], *repeats: list[Rows]) -> str:
        self.jobs[job["id"]] = job
        for repeat, rows in enumerate(repeats):
            self.rows[job["id"], repeat] = rows
        return str(job["id"])

    def client(self) -> Client:
        return Client(URL, http_transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        _, _, resource, job, *rest = request.url.path.split("/")
        if resource != "jobs" or job not in self.jobs:
            return httpx.Response(404, json={"title": "Not Found", "status": 404})
        if not rest:
            return httpx.Response(200, json=self.jobs[job])
        if rest == ["series", "summary"]:
            return httpx.Response(200, json={"data": self._summary(job)})
        if rest == ["series"]:
            return self._series(job, request)
        return httpx.Response(200, json=self.jobs[job])  # a move

    def _summary(self, job: str) -> list[dict[str, Any]]:
        found = []
        for (owner, repeat), lines in self.rows.items():
            for rows in lines if owner == job else []:
                for name, values in rows.items():
                    if name != "iteration" and len(values):
                        ends = {"first": values[0], "last": values[-1]}
                        edges = {"min": 0, "min_at": 0, "max": 1, "max_at": 0}
                        about = {"repeat": repeat, "name": name, "count": len(values)}
                        found.append(about | ends | edges)
        return found

    def _series(self, job: str, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        names = query["names"].split(",")
        lines = self.rows.get((job, int(query.get("repeat", 0))), [])
        nothing = {name: np.array([]) for name in ("iteration", *names)}
        rows = next((each for each in lines if names[0] in each), nothing)
        low, high = int(query.get("start", 0)), int(query.get("stop", 2**60))
        keep = (rows["iteration"] >= low) & (rows["iteration"] < high)
        columns = {name: rows[name][keep] for name in ("iteration", *names) if name in rows}
        total = int(keep.sum())
        if "points" in query and total > int(query["points"]):
            few = np.linspace(0, total - 1, int(query["points"])).astype(int)
            columns = {name: values[few] for name, values in columns.items()}
        if "arrow" in request.headers.get("accept", ""):
            table = pa.table(columns).replace_schema_metadata({"damaged": "[]"})
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            return httpx.Response(200, content=sink.getvalue().to_pybytes())
        told = {
            name: [value if np.isfinite(value) else None for value in values.tolist()]
            for name, values in columns.items()
        }
        last = told["iteration"][-1] + 1 if total else low
        meta = {"job": job, "total_points": total, "returned": len(told["iteration"])}
        return httpx.Response(
            200, json={**meta, "next_start": last, "complete": True, "columns": told}
        )
