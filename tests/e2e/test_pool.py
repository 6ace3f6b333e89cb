"""The workers of a machine as one command: started, drained, given up."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import psutil

from tests.e2e.service import Service, eventually
from tests.factories import training_json

SHARED = training_json(
    model={"name": "mlp", "params": {"hidden": [64]}},
    data={"name": "synthetic", "params": {"examples": 2048}},
    batch_size=64,
    length={"iterations": 1500},
    processes=2,
)
LONG = training_json(
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    data={"name": "synthetic", "params": {"examples": 4096}},
    batch_size=128,
    length={"iterations": 100_000},
)


def pool(service: Service, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stepsize", "worker", *options]
    return service.spawn("pool", *command, **environment)


def test_a_pool_takes_jobs_and_hands_them_back(service: Service) -> None:
    started = pool(service, "--devices", "cpu", "--labels", "nvme,rack=7", "--queues", "fast")
    eventually(service.workers, within=90, what="a worker")
    (worker,) = service.workers()
    assert worker["queues"] == ["fast"]
    assert worker["offer"]["labels"] == ["nvme", "rack=7"]
    job_id = service.submit(LONG | {"queue": "fast", "needs": {"labels": ["rack=7"]}})
    service.running(job_id)
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=30) == 0
    job = service.job(job_id)
    assert (job["state"], job["attempts"][0]["outcome"]) == ("queued", "handed_back")
    assert "cpu: stopped" in service.log("pool")
    assert service.workers() == []
    assert service.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200


def test_a_node_without_its_device_ends(service: Service) -> None:
    node = service.spawn("lame", sys.executable, "-m", "worker", STEPSIZE_DEVICE="cuda:7")
    node.wait(timeout=90)
    assert "worker.start_failed device=cuda:7" in service.log("lame")


@contextmanager
def worker(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    node = service.start_worker(STEPSIZE_CHECKPOINT_SECONDS="0.5")
    try:
        yield node
    finally:
        node.kill()
        node.wait()


def follower_of(node: subprocess.Popen[bytes]) -> psutil.Process:
    """The process that shares the job of a node with its child."""

    def found() -> psutil.Process | None:
        for each in psutil.Process(node.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "worker.engine.follower" in each.cmdline():
                    return each
        return None

    return eventually(found, what="a process that shares the job")


def has_ended(process: psutil.Process) -> bool:
    """Whether it has, though whoever inherited it may not have asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_job_that_two_share_survives_either_of_them(service: Service) -> None:
    with worker(service) as node:
        alone = service.finished(service.submit(SHARED | {"processes": 1}))
        assert alone["state"] == "succeeded", alone["error"]
        job_id = service.submit(SHARED)
        eventually(lambda: service.job(job_id)["checkpoint"], within=60, what="a checkpoint")
        follower_of(node).kill()
        failed = eventually(
            lambda: (job := service.job(job_id))["attempts"][0]["outcome"] and job,
            what="the end of the attempt",
        )
        (attempt,) = failed["attempts"]
        assert (attempt["outcome"], attempt["reason"]) == ("failed", "worker_lost")
        assert failed["state"] == "queued"
        assert failed["waiting"]["why"] == "retry"
        # the other way round: the process that the job runs in is killed, with the next attempt
        eventually(lambda: service.job(job_id)["attempt"] == 2, within=60, what="another attempt")
        other = follower_of(node)
        service.child_of(node).kill()
        eventually(lambda: has_ended(other), what="the end of the other process")
        job = service.finished(job_id, within=90)
    assert (job["state"], job["attempt"]) == ("succeeded", 3)
    assert job["attempts"][1]["outcome"] == "lost"
    assert job["resolved"]["processes"] == 2
    one, two = (
        service.series(each["id"], names="loss")["columns"]["loss"] for each in (alone, job)
    )
    np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5)


def test_a_job_that_two_share_is_handed_back(service: Service) -> None:
    with worker(service) as node:
        job_id = service.submit(SHARED | {"length": {"iterations": 10_000_000}})
        service.running(job_id)
        other = follower_of(node)
        other.terminate()  # as when all processes of a service are told to end at once
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=20) == 0
        eventually(lambda: has_ended(other), what="the end of the other process")
    job = service.job(job_id)
    assert (job["state"], job["attempts"][0]["outcome"]) == ("queued", "handed_back")
    assert job["checkpoint"] == job["progress"]["iteration"] > 0
    assert service.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200


def test_a_job_that_two_share_is_cancelled(service: Service) -> None:
    with worker(service) as node:
        job_id = service.submit(SHARED | {"length": {"iterations": 10_000_000}})
        service.running(job_id)
        other = follower_of(node)
        assert service.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
        assert service.finished(job_id)["state"] == "cancelled"
        eventually(lambda: has_ended(other), what="the end of the other process")
        eventually(lambda: [each for each in service.workers() if each["state"] == "idle"])
