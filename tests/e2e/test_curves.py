"""From a request to its curve through real processes: complete, exact, repeatable."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schedules import OneCycle, Triangular2
from schedules.ramp import Ramp
from tests.e2e.service import Service
from tests.factories import range_test_json, training_json


@pytest.fixture(scope="module", autouse=True)
def worker(service: Service) -> Iterator[None]:
    node = service.start_worker()
    yield
    node.kill()
    node.wait()


def finished(service: Service, spec: dict[str, Any], state: str = "succeeded") -> dict[str, Any]:
    job = service.finished(service.submit(spec))
    assert job["state"] == state, job["error"]
    return job


def test_a_training_is_recorded_at_every_iteration(service: Service) -> None:
    schedule = {"policy": "triangular2", "base_lr": 0.003, "max_lr": 0.1, "step_size": 37}
    spec = training_json(schedule=schedule, length={"iterations": 300}, record=["accuracy"])
    spec["evaluate"] = {"every": {"iterations": 100}}
    job = finished(service, spec)
    assert job["progress"] == {"iteration": 300, "iterations": 300}
    assert (job["attempt"], job["result"]["iterations"], job["error"]) == (1, 300, None)

    found = service.series(job["id"], names="loss,lr,accuracy")
    assert found["columns"]["iteration"] == list(range(300))
    assert found["complete"] is True
    lr = Triangular2.model_validate(schedule).lr_at(np.arange(300), iterations=300)
    assert found["columns"]["lr"] == lr.tolist()  # to the last bit
    losses = np.array(found["columns"]["loss"])
    assert np.isfinite(losses).all()
    assert losses[-50:].mean() < losses[:50].mean() / 2
    validation = service.series(job["id"], names="val_loss,val_accuracy")["columns"]
    assert validation["iteration"] == [100, 200, 300]
    assert validation["val_accuracy"][-1] == job["result"]["val_accuracy"]
    assert job["result"]["val_accuracy"] > 0.8

    again = finished(service, spec)
    assert service.series(again["id"], names="loss,lr,accuracy")["columns"] == found["columns"]


def test_a_range_test_suggests_bounds_that_a_training_takes(service: Service) -> None:
    spec = range_test_json()
    job = finished(service, spec)
    result = job["result"]
    assert result["status"] == "ok"
    suggestion = result["suggestion"]
    assert 0 < suggestion["base_lr"] < suggestion["max_lr"] < 10
    ramp = Ramp(**spec["range"]).lr_at(np.arange(100.0)).tolist()
    points = 0
    for repeat in range(spec["repeats"]):
        found = service.series(job["id"], repeat=repeat)["columns"]
        count = len(found["iteration"])
        points += count
        assert found["iteration"] == list(range(count))
        assert found["lr"] == ramp[:count]
    assert points == result["iterations"] == job["progress"]["iteration"]

    again = finished(service, spec)
    for repeat in range(spec["repeats"]):
        first, second = (service.series(each["id"], repeat=repeat) for each in (job, again))
        assert first["columns"] == second["columns"]
    assert again["result"] | {"seconds": 0} == result | {"seconds": 0}

    ref = {"range_test": job["id"]}
    schedule = {"policy": "triangular", "base_lr": ref, "max_lr": ref, "step_size": {"epochs": 2}}
    trained = finished(service, training_json(schedule=schedule, length={"cycles": 1}))
    resolved = trained["resolved"]["schedule"]
    assert resolved["max_lr"] == suggestion["max_lr"]
    lr = service.series(trained["id"])["columns"]["lr"]
    assert len(lr) == 4 * trained["resolved"]["iterations_per_epoch"]
    assert max(lr) == pytest.approx(suggestion["max_lr"])


def test_momentum_is_cycled_against_the_rate(service: Service) -> None:
    schedule = training_json()["schedule"] | {"base_momentum": 0.8, "max_momentum": 0.95}
    job = finished(service, training_json(schedule=schedule))
    found = service.series(job["id"], names="lr,momentum")["columns"]
    assert found["momentum"][0] == 0.95
    assert min(found["momentum"]) == found["momentum"][int(np.argmax(found["lr"]))]


def test_an_automatic_training_keeps_both_series(service: Service, tmp_path: Path) -> None:
    inner = {"policy": "one_cycle", "max_lr": {"range_test": "auto"}}
    ramp = {"start": 1e-5, "end": 10.0, "iterations": 100}
    schedule = {"policy": "auto", "schedule": inner, "range": ramp, "repeats": 2}
    job = finished(service, training_json(schedule=schedule, length={"iterations": 200}))
    found = job["result"]["range_test"]
    assert found["status"] == "ok"
    resolved = job["resolved"]["schedule"]
    assert (resolved["policy"], resolved["max_lr"]) == ("one_cycle", found["suggestion"]["max_lr"])
    assert job["progress"]["iteration"] == 200 + found["iterations"]

    points = 0
    for repeat in range(2):
        rates = service.series(job["id"], names="range_loss,range_lr", repeat=repeat)["columns"]
        points += len(rates["iteration"])
        assert rates["range_lr"] == Ramp(**ramp).lr_at(np.arange(len(rates["iteration"]))).tolist()
    assert points == found["iterations"]
    lr = service.series(job["id"])["columns"]["lr"]
    expected = OneCycle.model_validate(resolved).lr_at(np.arange(200), iterations=200)
    assert lr == expected.tolist()


def test_snapshots_are_files_until_their_job_is_deleted(service: Service) -> None:
    schedule = {"policy": "sgdr", "lr": 0.1, "t_0": 40}
    wanted = {"at": "cycle_end", "average_last": 2, "curvature": True}
    spec = training_json(schedule=schedule, length={"cycles": 3}, snapshots=wanted)
    job = finished(service, spec)
    result = job["result"]
    assert [each["iteration"] for each in result["snapshots"]] == [40, 80, 120]
    assert result["ensemble"]["members"] == 2
    assert result["ensemble"]["val_accuracy"] > 0.8
    for each in result["snapshots"]:
        assert each["curvature"] > 0
        assert (service.folder / each["file"]).stat().st_size > 1000
    assert service.http.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert not (service.folder / result["snapshots"][0]["file"]).exists()


def test_a_run_that_stops_inside_a_cycle_says_so(service: Service) -> None:
    schedule = training_json()["schedule"] | {"step_size": {"epochs": 1}}
    job = finished(service, training_json(schedule=schedule, length={"iterations": 100}))
    (warning,) = job["warnings"]
    assert "inside a cycle: 100 iterations, and cycle 2 ends at 176" in warning


def test_the_readme_does_what_it_says(service: Service, tmp_path: Path, texts: list[str]) -> None:
    (code,) = texts
    url = str(service.http.base_url)
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(len(losses))"],
        check=False,
        env=os.environ | {"STEPSIZE_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "max_lr" in done.stdout
    assert done.stdout.split()[-1] == str(2 * 2 * 2 * 44)
    assert (tmp_path / "range-test.png").stat().st_size > 10_000


def test_divergence_is_a_result(service: Service) -> None:
    schedule = {"policy": "constant", "lr": 1e6}
    optimizer = {"name": "sgd", "params": {"momentum": 0.99}}
    spec = training_json(schedule=schedule, optimizer=optimizer, length={"iterations": 500})
    result = finished(service, spec)["result"]
    assert result["diverged_at"] is not None


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"data": {"name": "mnist"}}, "invalid", "train-images-idx3-ubyte"),
        ({"batch_size": 5000}, "invalid", "batch_size"),
        ({"model": {"name": "mlp", "params": {"hidden": [3_000_000, 3_000_000]}}}, "oom", "GB"),
    ],
)
def test_what_cannot_run_fails_with_a_reason(
    service: Service,
    change: dict[str, Any],
    reason: str,
    says: str,
) -> None:
    job = finished(service, training_json(**change), state="failed")
    assert job["error"]["reason"] == reason
    assert says in job["error"]["detail"]
    finished(service, training_json())  # and the worker goes on
