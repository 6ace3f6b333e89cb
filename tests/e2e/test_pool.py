"""The workers of a machine as one command: started, drained, given up."""

import signal
import subprocess
import sys

from tests.e2e.service import Service, eventually
from tests.factories import training_json

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
    assert node.wait(timeout=90) == 0
    assert "worker.start_failed device=cuda:7" in service.log("lame")
