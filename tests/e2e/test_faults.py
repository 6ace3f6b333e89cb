"""Kill, freeze and repeat anything: no job is lost, run twice or left hanging."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import psutil
import pytest
from celery import Celery

from spec.wakeup import CELERY, TASK
from tests.e2e.service import Service, eventually
from tests.factories import training_json

# some seconds of work, so that faults find it running
LONG = training_json(
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    data={"name": "synthetic", "params": {"examples": 4096}},
    batch_size=128,
    length={"iterations": 4000},
)
SHORT = training_json(length={"iterations": 20})


@contextmanager
def worker(service: Service, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node that is gone when the block ends."""
    node = service.start_worker(**environment)
    try:
        yield node
    finally:
        if node.poll() is None:
            node.kill()
        node.wait()


def assert_complete(service: Service, job: dict[str, Any], reference: dict[str, Any]) -> None:
    assert job["state"] == "succeeded", job["error"]
    assert service.series(job["id"])["columns"] == reference


@pytest.fixture(scope="module")
def reference(service: Service) -> dict[str, Any]:
    """The columns of LONG, run without any fault."""
    with worker(service):
        job = service.finished(service.submit(LONG))
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    columns: dict[str, Any] = service.series(job["id"])["columns"]
    assert len(columns["iteration"]) == 4000
    return columns


def test_a_killed_child_is_replaced_and_its_job_runs_again(
    service: Service,
    reference: dict[str, Any],
) -> None:
    with worker(service) as node:
        job_id = service.submit(LONG)
        service.running(job_id)
        service.child_of(node).kill()
        job = service.finished(job_id)
    assert job["attempt"] == 2
    assert_complete(service, job, reference)


def test_a_killed_node_takes_its_child_along(service: Service, reference: dict[str, Any]) -> None:
    with worker(service) as node:
        job_id = service.submit(LONG)
        service.running(job_id)
        child = service.child_of(node)
        node.kill()
        child.wait(timeout=5)
    with worker(service):
        job = service.finished(job_id)
    assert job["attempt"] == 2
    assert_complete(service, job, reference)


def test_a_frozen_worker_that_wakes_up_writes_nothing(
    service: Service,
    reference: dict[str, Any],
) -> None:
    with worker(service) as first:
        job_id = service.submit(LONG)
        service.running(job_id)
        child = service.child_of(first)
        child.suspend()
        with worker(service):
            job = service.finished(job_id)
            assert job["attempt"] == 2
            child.resume()
            woken = service.finished(service.submit(SHORT))
            assert woken["state"] == "succeeded"
        # the woken one has noticed, and works again
        eventually(lambda: [w for w in service.workers() if w["state"] == "idle"])
        assert service.job(job_id) == job
        assert_complete(service, job, reference)


def test_sigterm_hands_the_job_back(service: Service, reference: dict[str, Any]) -> None:
    with worker(service) as node:
        job_id = service.submit(LONG)
        service.running(job_id)
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=10) == 0
        job = service.job(job_id)
    assert (job["state"], job["attempt"]) == ("queued", 1)
    with worker(service):
        job = service.finished(job_id)
    assert job["attempt"] == 2
    assert_complete(service, job, reference)


def test_a_child_that_is_told_to_end_is_replaced(
    service: Service,
    reference: dict[str, Any],
) -> None:
    with worker(service) as node:
        job_id = service.submit(LONG)
        service.running(job_id)
        child = service.child_of(node)
        child.terminate()
        child.wait(timeout=10)
        job = service.finished(job_id)
        assert node.poll() is None
    assert job["attempt"] == 2
    assert_complete(service, job, reference)


def test_a_job_that_kills_its_workers_fails(service: Service) -> None:
    with worker(service) as node:
        job_id = service.submit(LONG)
        for attempt in (1, 2, 3):
            eventually(
                lambda attempt=attempt: service.running(job_id)["attempt"] == attempt,
                within=60,
            )
            service.child_of(node).kill()
        job = service.finished(job_id)
    assert job["state"] == "failed"
    assert job["error"]["reason"] == "worker_lost"
    retried = service.http.post(f"/v1/jobs/{job_id}/retry").json()
    assert (retried["state"], retried["attempt"]) == ("queued", 3)
    assert service.http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_a_process_that_hangs_is_ended_and_its_job_tried_again(service: Service) -> None:
    folder = service.folder / "arrays" / "numbers"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "validation"):
        np.save(folder / f"{split}_inputs.npy", random.normal(size=(512, 8)))
        np.save(folder / f"{split}_labels.npy", random.integers(0, 3, 512))
    spec = training_json(
        data={"name": "arrays", "params": {"folder": "numbers"}},
        loader={"workers": 1},
        length={"iterations": 1_000_000},
    )
    with worker(service, STEPSIZE_STALL_SECONDS="8") as node:
        job_id = service.submit(spec)
        service.running(job_id)
        child = service.child_of(node)
        readers = child.children(recursive=True)
        for each in readers:  # frozen, not dead: what waits for them waits for ever
            each.suspend()
        job = eventually(lambda: (job := service.job(job_id))["state"] == "queued" and job)
        assert [(each["outcome"], each["reason"]) for each in job["attempts"]] == [
            ("failed", "stalled")
        ]
        assert "no progress for 8 s" in job["history"][-1]["detail"]
        child.wait(timeout=10)
        for each in readers:
            with suppress(psutil.NoSuchProcess):
                each.resume()
        eventually(lambda: not any(each.is_running() for each in readers), what="no reader")
        again = eventually(lambda: (job := service.job(job_id))["attempt"] == 2 and job, within=60)
        assert again["state"] == "running"
        assert service.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
        assert service.finished(job_id)["state"] == "cancelled"
    assert "most recent call first" in service.log("worker")  # where it hung


def test_a_wiped_broker_loses_no_job(service: Service) -> None:
    ids = [service.submit(SHORT) for _ in range(20)]
    broker = next(p for p in service.processes if "valkey" in str(p.args) and p.poll() is None)
    broker.kill()
    broker.wait()
    service.socket.unlink()
    answer = service.http.get("/readyz")
    assert answer.status_code == 503
    assert "broker" in answer.json()["detail"]
    ids.append(service.submit(SHORT))  # accepted all the same
    service.start_broker()
    with worker(service):
        jobs = [service.finished(job_id) for job_id in ids]
    assert {(job["state"], job["attempt"]) for job in jobs} == {("succeeded", 1)}


def test_a_frozen_broker_delays_no_request(service: Service) -> None:
    broker = next(p for p in service.processes if "valkey" in str(p.args) and p.poll() is None)
    psutil.Process(broker.pid).suspend()
    try:
        answers = [service.http.post("/v1/jobs", json=SHORT) for _ in range(20)]
    finally:
        psutil.Process(broker.pid).resume()
    assert max(answer.elapsed.total_seconds() for answer in answers) < 1
    with worker(service):
        for answer in answers:
            assert service.finished(answer.json()["id"])["state"] == "succeeded"


def test_ten_copies_of_a_message_run_a_job_once(service: Service) -> None:
    app = Celery(broker=service.environment["STEPSIZE_BROKER_URL"])
    app.conf.update(CELERY)
    with worker(service):
        job_id = service.submit(SHORT)
        for _ in range(10):
            app.send_task(TASK, args=[job_id], queue="default")
        job = service.finished(job_id)
        last = service.finished(service.submit(SHORT))  # after all the copies
    app.close()
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert (last["state"], last["attempt"]) == ("succeeded", 1)
    assert service.job(job_id) == job


def test_cancel_in_each_state(service: Service) -> None:
    def cancel(job_id: str) -> tuple[int, str]:
        answer = service.http.post(f"/v1/jobs/{job_id}/cancel")
        return answer.status_code, answer.json().get("state", "")

    waiting = service.submit(LONG)
    assert cancel(waiting) == (200, "cancelled")
    assert cancel(waiting) == (200, "cancelled")
    with worker(service):
        running = service.submit(LONG)
        service.running(running)
        assert cancel(running) == (200, "running")
        assert service.finished(running)["state"] == "cancelled"
        kept = service.series(running)
        assert 0 < kept["total_points"] < 4000
        assert kept["complete"] is True
        done = service.submit(SHORT)
        assert service.finished(done)["state"] == "succeeded"
        assert cancel(done)[0] == 409
        assert service.job(waiting)["attempt"] == 0


def test_two_apis_over_one_database(service: Service) -> None:
    other = service.start_api(STEPSIZE_PORT=str(service.port + 1))
    with worker(service) as node:
        job_id = service.submit(SHORT)
        assert service.finished(job_id)["attempt"] == 1
        long = service.submit(LONG)
        service.running(long)
        service.child_of(node).kill()
        job = service.finished(long)
    other.kill()
    other.wait()
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
