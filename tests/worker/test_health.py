"""The health check of a worker: who it takes for alive."""

import socket
from datetime import UTC, datetime, timedelta

import pytest

from store import workers
from store.database import Sessions
from store.instants import from_now
from store.tables import workers as table
from worker import health


@pytest.fixture
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("STEPSIZE_DATABASE_URL", database_url)
    monkeypatch.setenv("STEPSIZE_BROKER_URL", "redis://unused")
    return monkeypatch


def report(sessions: Sessions, host: str) -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name=f"cpu-7@{host}",
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
        )


def test_a_worker_of_this_machine_is_alive_while_it_reports(
    environment: pytest.MonkeyPatch,
    sessions: Sessions,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = socket.gethostname()
    report(sessions, f"not-{here}")
    assert health.main() == 1
    assert f"no worker of {here}" in capsys.readouterr().err
    report(sessions, here)
    assert health.main() == 0
    with sessions.begin() as tx:
        tx.execute(table.update().values(seen_at=from_now(-timedelta(seconds=61))))
    assert health.main() == 1


def test_without_its_database_a_worker_is_not_well(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment.setenv("STEPSIZE_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    assert health.main() == 1
    assert "cannot ask the database" in capsys.readouterr().err
    environment.delenv("STEPSIZE_DATABASE_URL")
    assert health.main() == 2
    assert "STEPSIZE_DATABASE_URL" in capsys.readouterr().err
