"""Jobs trained as one program through the real service: none is lost with the others."""

import signal
import subprocess
import sys
from typing import Any

from tests.e2e.service import Service, eventually
from tests.factories import training_json

JOBS, ITERATIONS = 8, 6000


def started(service: Service) -> subprocess.Popen[bytes]:
    """A worker that finds jobs waiting, and so need not be seen idle."""
    return service.spawn("worker", sys.executable, "-m", "worker")


def submitted(service: Service) -> list[str]:
    """Jobs that differ in their seed and rates, all queued before a worker looks."""
    schedules = [
        {"policy": "triangular", "base_lr": 0.001 * (1 + n), "max_lr": 0.05, "step_size": 500}
        for n in range(JOBS)
    ]
    return [
        service.submit(
            training_json(
                population=True,
                seed=seed,
                schedule=schedule,
                length={"iterations": ITERATIONS},
                evaluate={"every": {"iterations": 1000}},
            )
        )
        for seed, schedule in enumerate(schedules)
    ]


def together(service: Service, ids: list[str]) -> list[dict[str, Any]]:
    """The jobs that run as one program, as soon as each of them has recorded something."""

    def running() -> list[dict[str, Any]]:
        jobs = [service.job(job_id) for job_id in ids]
        found = [job for job in jobs if (job["resolved"] or {}).get("population")]
        size = found[0]["resolved"]["population"] if found else None
        begun = [job for job in found if job["state"] == "running" and job["progress"]["iteration"]]
        return begun if len(begun) == size else []

    return eventually(running, within=60, what="jobs that run together")


def assert_complete(service: Service, job_id: str) -> None:
    job = service.finished(job_id, within=120)
    assert job["state"] == "succeeded", job["error"]
    assert job["progress"] == {"iteration": ITERATIONS, "iterations": ITERATIONS}
    found = service.series(job_id)
    assert found["complete"]
    assert found["columns"]["iteration"] == list(range(ITERATIONS))
    assert found["columns"]["lr"][0] == job["spec"]["schedule"]["base_lr"]
    evaluated = service.series(job_id, names="val_loss")["columns"]["iteration"]
    assert evaluated == list(range(1000, ITERATIONS + 1, 1000))


def test_a_killed_population_comes_back_job_by_job(service: Service) -> None:
    ids = submitted(service)
    node = started(service)
    running = together(service, ids)
    assert len(running) > 1
    service.child_of(node).kill()
    for job_id in ids:
        assert_complete(service, job_id)
    killed = {job["id"] for job in running}
    for job in map(service.job, ids):
        if job["id"] in killed:
            assert job["attempt"] == 2
            assert "population" not in job["resolved"]
        else:
            assert job["attempt"] == 1
    node.kill()
    node.wait()


def test_a_population_is_handed_back_and_loses_who_is_cancelled(service: Service) -> None:
    ids = submitted(service)
    node = started(service)
    running = [job["id"] for job in together(service, ids)]
    service.http.post(f"/v1/jobs/{running[0]}/cancel")
    assert service.finished(running[0])["state"] == "cancelled"
    assert service.series(running[0])["complete"]
    assert {service.job(job_id)["state"] for job_id in running[1:]} == {"running"}
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=10) == 0
    handed_back = [service.job(job_id) for job_id in running[1:]]
    assert {(job["state"], job["attempt"]) for job in handed_back} == {("queued", 1)}
    other = started(service)
    assert len(together(service, running[1:])) > 1
    for job_id in set(ids) - {running[0]}:
        assert_complete(service, job_id)
    other.kill()
    other.wait()
