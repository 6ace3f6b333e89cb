"""The application over a real database, with a broker that only takes notes."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from redis import ConnectionError as BrokerDownError

from api.app import create_app
from api.broker import Broker
from spec.settings import Settings
from store.checkpoints import Saved
from store.database import Sessions
from store.files import opened
from store.leases import Lease
from tests.factories import record


class NotedBroker(Broker):
    """Wake-ups are noted instead of sent."""

    def __init__(self) -> None:
        self.woken: list[tuple[str, str]] = []
        self.queued: dict[str, int] = {}
        self.down = False

    def wake(self, queue_name: str, hint: str) -> None:
        self.woken.append((queue_name, hint))

    def waiting(self, queue_name: str) -> int:
        if self.down:
            raise BrokerDownError("connection refused")
        return self.queued.get(queue_name, 0)

    def ping(self) -> None:
        if self.down:
            raise BrokerDownError("connection refused")


Checkpointed = Callable[..., bytes]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url="redis://unused", data_dir=tmp_path)


@pytest.fixture
def broker() -> NotedBroker:
    return NotedBroker()


@pytest.fixture
def client(sessions: Sessions, broker: NotedBroker, settings: Settings) -> TestClient:
    app = create_app(sessions, broker, settings)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def checkpointed(sessions: Sessions, settings: Settings) -> Checkpointed:
    """Writes a checkpoint of a running job, file and row; returns the content of the file."""

    def write(lease: Lease, iteration: int, *, lasting: bool = False) -> bytes:
        content = f"{lease.job_id} at {iteration}".encode()
        file = f"{lease.job_id}/{lease.attempt}-{iteration}.ckpt"
        opened(settings.checkpoints).write(file, content)
        digest = sha256(content).hexdigest()
        saved = Saved(iteration, file, len(content), digest, lasting)
        record(sessions, lease, iteration, checkpoints=[saved])
        return content

    return write
