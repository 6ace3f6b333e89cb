"""docker-compose.yml without Docker: its commands, environments, health checks and signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from migrations.run import downgrade, newest
from stepsize import broker
from store.database import connect
from tests.compose import MOUNTED, SECRETS, SERVICES, WORKERS, services
from tests.e2e.service import Service, eventually
from tests.factories import training_json

LONG = training_json(
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    data={"name": "synthetic", "params": {"examples": 4096}},
    length={"iterations": 50_000},
)


@dataclass
class Container:
    """A service of the file as a process of this machine."""

    name: str
    service: Service
    variables: Mapping[str, str]
    changes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.described = services(self.variables)[self.name]

    @property
    def environment(self) -> dict[str, str]:
        given = {
            name: self.variables.get(name) if value is None else self._here(value)
            for name, value in self.described["environment"].items()
        }
        image = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return image | {k: v for k, v in given.items() if v is not None} | dict(self.changes)

    def _here(self, text: str) -> str:
        secrets = f"{self.service.folder}/secrets/"
        return text.replace("8000", str(self.service.port)).replace(MOUNTED, secrets)

    def start(self) -> subprocess.Popen[bytes]:
        with (self.service.folder / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.described["command"],
                env=self.environment,
                cwd=self.service.folder,
                stdout=log,
                stderr=log,
            )
        self.service.processes.append(process)
        return process

    def healthy(self) -> bool:
        check = self.described["healthcheck"]
        kind, *command = check["test"]
        assert kind == "CMD"
        done = subprocess.run(
            [self._here(part) for part in command],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=seconds(check["timeout"]),
        )
        return done.returncode == 0

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.Signals[self.described.get("stop_signal", "SIGTERM")])
        return process.wait(timeout=seconds(self.described.get("stop_grace_period", "10s")))


def seconds(duration: str) -> float:
    assert duration.endswith("s")
    return float(duration[:-1])


@dataclass
class Deployment:
    """Database, broker and API as the file describes them."""

    service: Service
    variables: Mapping[str, str]
    api: subprocess.Popen[bytes]

    def container(self, name: str, **changes: str) -> Container:
        return Container(name, self.service, self.variables, changes)


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    postgresql_url: str,
) -> Iterator[Deployment]:
    service = Service(tmp_path_factory.mktemp("compose"), postgresql_url)
    (service.folder / "secrets").mkdir()
    for name, value in SECRETS.items():
        (service.folder / "secrets" / name).write_text(f"{value}\n")
    variables = {
        "STEPSIZE_DATABASE_URL": postgresql_url,
        "STEPSIZE_BROKER_URL": f"redis+socket://{service.socket}",
        "STEPSIZE_HEARTBEAT_SECONDS": "0.5",
        "STEPSIZE_RECONCILE_SECONDS": "0.5",
        "OMP_NUM_THREADS": "1",
    }
    sessions = connect(postgresql_url)
    downgrade(sessions, "base")
    sessions.close()
    try:
        _, *options = SERVICES["broker"]["command"]
        server = broker.command(service.socket)[0]
        here = ["--port", "0", "--unixsocket", str(service.socket)]
        service.spawn("broker", server, *options, *here)
        assert Container("migrate", service, variables).start().wait(timeout=30) == 0
        assert f"revision {newest()}" in service.logs()
        api = Container("api", service, variables)
        process = api.start()
        eventually(api.healthy, what="the API to be healthy")
        service.http.headers["Authorization"] = f"Bearer {SECRETS['api_key']}"
        yield Deployment(service, variables, process)
        # uvicorn ends in order, then of the signal it was sent
        assert api.stop(process) in {0, -signal.SIGTERM}
        assert not api.healthy()
    except BaseException as error:
        error.add_note(service.logs())
        raise
    finally:
        service.stop()


def test_the_api_is_ready_and_wants_its_key(deployment: Deployment) -> None:
    http = deployment.service.http
    assert http.get("/readyz").status_code == 200
    assert http.get("/v1/jobs").status_code == 200
    assert http.get("/v1/jobs", headers={"Authorization": "Bearer guessed"}).status_code == 401


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_runs_jobs_and_hands_its_job_back(deployment: Deployment, name: str) -> None:
    service = deployment.service
    container = deployment.container(name, STEPSIZE_DEVICE="cpu")
    queue = container.environment["STEPSIZE_QUEUES"]
    node = container.start()
    eventually(service.workers, what="the worker to report itself")
    assert container.healthy()
    done = service.finished(service.submit(training_json(length={"iterations": 20}, queue=queue)))
    assert done["state"] == "succeeded", done["error"]
    # the mapped files show what a process has loaded, from wherever
    assert "libtorch" in Path(f"/proc/{service.child_of(node).pid}/maps").read_text()
    assert "libtorch" not in Path(f"/proc/{deployment.api.pid}/maps").read_text()

    running = service.submit({**LONG, "queue": queue})
    service.running(running)
    assert container.stop(node) == 0
    back = service.job(running)
    assert (back["state"], back["attempt"]) == ("queued", 1)
    assert not container.healthy()
    service.http.post(f"/v1/jobs/{running}/cancel")
