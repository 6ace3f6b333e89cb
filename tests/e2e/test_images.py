"""The images, built and run: what Compose would start, from the built trees, until a job is done.

PostgreSQL and Valkey are those of wheels, in place of the two images of others. It takes minutes
and root, so it is asked for: `make images`.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from migrations.run import newest
from stepsize import broker
from tests.compose import MOUNTED, SECRETS, SERVICES, services
from tests.e2e.service import Service, eventually, free_port
from tests.factories import training_json
from tests.images import Image, buildah, image, unmount
from tests.postgresql import WHEEL, installed

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("STEPSIZE_TEST_IMAGES") != "1",
        reason="builds images, which takes minutes: `make images`",
    ),
    pytest.mark.timeout(3600),
]

NOBODY = 65534
OWNER = 10001
LENGTH = 30_000
LONG = training_json(
    model={"name": "mlp", "params": {"hidden": [64]}},
    data={"name": "synthetic", "params": {"examples": 2048}},
    length={"iterations": LENGTH},
)
LOOK = """
import importlib.util, os, pathlib
status = dict(l.split(':', 1) for l in pathlib.Path('/proc/self/status').read_text().splitlines())
def writable(folder):
    try:
        pathlib.Path(folder, 'probe').write_text('x')
    except OSError:
        return False
    return True
print(os.getuid(), os.getgid(), os.getgroups(), status['CapBnd'].strip(), status['CapEff'].strip(),
      status['NoNewPrivs'].strip(), *[writable(each) for each in ('/', '/opt/stepsize', '/run',
      '/tmp', '/var/lib/stepsize')], bool(importlib.util.find_spec('torch')), sep='|')
"""


@dataclass
class Deployment:
    """Both images, a database, a broker, and what the Compose file says of their services."""

    service: Service
    folder: Path
    variables: Mapping[str, str]
    containers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, name: str, command: list[str] | None = None, *, host: str = "") -> list[str]:
        described = services(self.variables)[name]
        environment = {
            key: str(self.variables.get(key, "") if value is None else value)
            for key, value in described["environment"].items()
            if value is not None or key in self.variables
        }
        built: Image = image(described["build"]["target"])
        mounts = {self._secrets(name, described.get("secrets", [])): MOUNTED.rstrip("/")}
        for volume in described.get("volumes", []):
            source, inside = volume.split(":")
            mounts[self.folder / source] = inside
        wanted = [self._here(part) for part in command or described["command"]]
        return built.command(
            host or name,
            wanted,
            environment={key: self._here(value) for key, value in environment.items()},
            mounts=mounts,
            tmpfs=described["tmpfs"],
        )

    def _here(self, text: str) -> str:
        return text.replace("8000", str(self.service.port))

    def _secrets(self, name: str, given: list[str]) -> Path:
        """A folder with the secrets of one service, and no others."""
        folder = self.folder / "mounted" / name
        folder.mkdir(parents=True, exist_ok=True)
        for each in given:
            shutil.copy(self.folder / "secrets" / each, folder / each)
        return folder

    def start(self, name: str, *, host: str = "") -> subprocess.Popen[bytes]:
        container = self.service.spawn(host or name, *self.command(name, host=host))
        self.containers.append(container)
        return container

    def stop(self) -> None:
        """Kills the first process of each container, and with it, says the kernel, all of them."""
        for container in self.containers:
            if container.poll() is None:
                inside(container).kill()

    def run(
        self, name: str, command: list[str], *, host: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, command, host=host), capture_output=True, text=True, check=False
        )

    def healthy(self, name: str, *, host: str = "") -> bool:
        _, *check = SERVICES[name]["healthcheck"]["test"]
        return self.run(name, check, host=host).returncode == 0


def inside(container: subprocess.Popen[bytes]) -> psutil.Process:
    """The first process of a container, which an engine sends its signals to."""
    (first,) = psutil.Process(container.pid).children()
    return first


def postgresql(folder: Path, service: Service, port: int) -> str:
    """Starts a server that asks for the password of the secret; its URL, without."""
    for part in (installed(), WHEEL.with_name(f"{WHEEL.name}.libs")):
        # where the user that it runs as can read it
        shutil.copytree(part, folder / part.relative_to(WHEEL.parent), symlinks=True)
    programs = folder / installed().relative_to(WHEEL.parent)
    data = folder / "database"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    password = folder / "secrets" / "database_password"
    subprocess.run(
        [programs / "bin" / "initdb", "--pgdata", data, "--username=stepsize", "--no-sync",
         "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={password}"],
        check=True, user=NOBODY, group=NOBODY, capture_output=True,
    )  # fmt: skip
    with (service.folder / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            [programs / "bin" / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1",
             "-k", ""],
            user=NOBODY, group=NOBODY, stdout=log, stderr=log,
        )  # fmt: skip
    service.processes.append(process)
    host = ("-h", "127.0.0.1", "-p", str(port), "-U", "stepsize")
    eventually(
        lambda: (
            subprocess.run([programs / "bin" / "pg_isready", *host], check=False).returncode == 0
        ),
        what="PostgreSQL",
    )
    environment = {"PGPASSWORD": SECRETS["database_password"]}
    subprocess.run([programs / "bin" / "createdb", *host, "stepsize"], env=environment, check=True)
    return f"postgresql://stepsize@127.0.0.1:{port}/stepsize"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    buildah("--version")  # or why not
    folder = Path(tempfile.mkdtemp(prefix="stepsize-images-"))
    folder.chmod(0o755)
    for name in ("secrets", "logs", "datasets"):
        (folder / name).mkdir()
    os.chown(folder / "datasets", OWNER, OWNER)  # as an engine makes a volume from the image
    for name, value in SECRETS.items():
        (folder / "secrets" / name).write_text(f"{value}\n")
    service = Service(folder / "logs", "")
    made: Deployment | None = None
    try:
        broker_port = free_port()
        url = postgresql(folder, service, free_port())
        _, *options = SERVICES["broker"]["command"]
        server = broker.command(service.socket)[0]
        service.spawn("broker", server, *options, "--bind", "127.0.0.1", "--port", str(broker_port))
        service.http.headers["Authorization"] = f"Bearer {SECRETS['api_key']}"
        made = Deployment(
            service,
            folder,
            {
                "STEPSIZE_DATABASE_URL": url,
                "STEPSIZE_BROKER_URL": f"redis://127.0.0.1:{broker_port}/0",
                "STEPSIZE_LEASE_SECONDS": "5",
                "STEPSIZE_HEARTBEAT_SECONDS": "1",
                "STEPSIZE_RECONCILE_SECONDS": "0.5",
                "STEPSIZE_CHECKPOINT_SECONDS": "1",
                "OMP_NUM_THREADS": "1",
            },
        )
        yield made
    except BaseException as error:
        error.add_note(service.logs())
        raise
    finally:
        if made is not None:
            made.stop()
        service.stop()
        unmount()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "torch"), [("api", False), ("worker", True)])
def test_a_container_may_do_nothing_but_its_work(
    deployment: Deployment, name: str, *, torch: bool
) -> None:
    done = deployment.run(name, ["python", "-c", LOOK])
    assert done.returncode == 0, done.stderr
    nothing = "0" * 16
    written = "False|False|False|True|True"
    assert done.stdout.strip() == (f"{OWNER}|{OWNER}|[]|{nothing}|{nothing}|1|{written}|{torch}")


def test_the_images_hold_no_more_than_they_need(deployment: Deployment) -> None:
    for target in ("api", "worker"):
        built = image(target)
        source = {each.name for each in (built.root / "opt/stepsize").iterdir()}
        assert not source & {"tests", "docs", "benchmarks", "docker", "secrets", "bin"}
        assert built.config["User"] == f"{OWNER}:{OWNER}"
        assert built.config["Labels"]["org.opencontainers.image.title"] == "stepsize"
        assert built.config["Healthcheck"]["Test"][0] == "CMD"


def test_a_deployment_runs_a_job_and_survives_the_loss_of_its_worker(
    deployment: Deployment,
) -> None:
    service = deployment.service
    assert deployment.start("migrate").wait(timeout=120) == 0, service.logs()
    assert f"revision {newest()}" in service.log("migrate")
    api = deployment.start("api")
    eventually(lambda: deployment.healthy("api"), within=60, what="the API")
    assert service.http.get("/readyz").status_code == 200
    assert httpx.get(f"{service.http.base_url}/v1/jobs").status_code == 401
    keys = ["python", "-m", "stepsize", "keys", "create", "prometheus", "--scope", "read"]
    made = deployment.run("api", keys)
    assert made.returncode == 0, made.stderr
    bearer = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert "stepsize_jobs" in service.http.get("/metrics", headers=bearer).text

    first = deployment.start("worker", host="worker-1")
    eventually(lambda: deployment.healthy("worker", host="worker-1"), within=120)
    done = service.finished(service.submit(training_json(length={"iterations": 20})))
    assert done["state"] == "succeeded", done["error"]

    job = service.submit(LONG)
    checkpoints = f"/v1/jobs/{job}/checkpoints"
    eventually(lambda: len(service.http.get(checkpoints).json()["data"]) >= 2)
    inside(first).kill()
    first.wait(timeout=10)
    eventually(lambda: not deployment.healthy("worker", host="worker-1"))
    second = deployment.start("worker", host="worker-2")
    eventually(
        lambda: service.job(job)["attempt"] >= 2 and service.job(job)["state"] == "running",
        within=120,
        what="the job to be taken up",
    )
    inside(second).send_signal(signal.SIGTERM)
    grace = float(SERVICES["worker"]["stop_grace_period"].rstrip("s"))
    assert second.wait(timeout=grace) == 0
    assert service.job(job)["state"] == "queued"  # handed back, and no crash

    third = deployment.start("worker", host="worker-3")
    done = service.finished(job, within=300)
    assert done["state"] == "succeeded", done["error"]
    history = [each["verb"] for each in done["history"]]
    assert [v for v in history if v in {"expire", "hand_back"}] == ["expire", "hand_back"]
    assert all(each["began"] > 0 for each in done["attempts"][1:])
    series = service.series(job, names="loss")
    assert series["columns"]["iteration"] == list(range(LENGTH))
    for process in (third, api):
        inside(process).send_signal(signal.SIGTERM)
        process.wait(timeout=grace)
