"""A recipe on Fashion-MNIST from request to ranking, against the embedded service over HTTP.

`measure` runs it and keeps what came of it in docs/which-schedule/results.json; `report` writes
docs/which-schedule.md and its pictures from that file alone.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from recipe_report import FOLDER, draw, page
from tables import machine

from stepsize import Client, Job, recipe
from stepsize.embedded import Place, free_port, running
from stepsize.sweep_values import Sweep

RESULTS = FOLDER / "results.json"

REQUEST = recipe(
    {"name": "mlp", "params": {"hidden": [784]}},
    "fashion-mnist",
    {"name": "sgd", "params": {"momentum": 0.9}},
    batch_size=200,
    length={"epochs": 4},
    evaluate={"every": {"epochs": 1}},
    about={
        "name": "which schedule?",
        "schedules": [
            {"policy": "constant"},
            {"policy": "cosine"},
            {"policy": "sgdr", "t_mult": 2},
            {"policy": "one_cycle"},
            {"policy": "triangular2"},
        ],
        "seeds": [0, 1, 2],
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
    },
)
PARTS = 60
"""Points a loss curve is kept at, each the mean of as many iterations."""

DIGITS = 6


def measure(data_dir: Path) -> dict[str, Any]:
    """Start the service, submit the recipe, wait for its end, and gather what it recorded."""
    place = Place(data_dir, port=free_port())
    with running(place, say=print) as service, Client(place.url) as client:
        preview = client.sweeps.preview(REQUEST)
        sweep = client.sweeps.submit(REQUEST)
        while not sweep.finished:
            service.tend()
            time.sleep(1)
            now = client.sweeps.get(sweep)
            if now.done > sweep.done:
                print(f"{now.done}/{now.promised}", flush=True)
            sweep = now
        return {
            "request": REQUEST,
            "preview": preview.model_dump(mode="json"),
            "machine": machine(),
            **_found(client, sweep),
        }


def _found(client: Client, sweep: Sweep) -> dict[str, Any]:
    rows = client.sweeps.results(sweep)
    jobs = [client.job(row.job) for row in rows if row.job]
    test, *trained = jobs
    return {
        "state": sweep.state,
        "ending": sweep.ending,
        "seconds": [round(float((job.result or {})["seconds"]), 1) for job in jobs],
        "range_test": {
            "spec": test.spec,
            "result": test.result,
            "repeats": [_ramp(client, test, repeat) for repeat in range(test.spec["repeats"])],
        },
        "rows": [{"parameters": row.parameters, "value": row.value} for row in rows[1:]],
        "trainings": [_training(client, job) for job in trained],
    }


def _ramp(client: Client, job: Job, repeat: int) -> dict[str, list[float]]:
    series = client.series(job, ["loss", "lr"], repeat=repeat)
    return {name: _short(series[name]) for name in ("lr", "loss")}


def _training(client: Client, job: Job) -> dict[str, Any]:
    series = client.series(job, ["loss", "lr"])
    measured = client.series(job, ["val_accuracy"])
    return {
        "iterations": int(series.iteration[-1]) + 1,
        "warnings": job.warnings,
        "first_loss": float(series["loss"][0]),
        "loss": _short(_parts(series["loss"])),
        "lr": _short(_parts(series["lr"])),
        "at": measured.iteration.tolist(),
        "val_accuracy": _short(measured["val_accuracy"]),
    }


def _parts(values: np.ndarray) -> np.ndarray:
    return np.array([part.mean() for part in np.array_split(values, PARTS)])


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def main() -> None:
    """One of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=("measure", "report"))
    step = parser.parse_args().step
    if step == "measure":
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder))
        RESULTS.write_text(json.dumps(found) + "\n")
    found = json.loads(RESULTS.read_text())
    draw(found, FOLDER)
    FOLDER.with_suffix(".md").write_text(page(found))


if __name__ == "__main__":
    main()
