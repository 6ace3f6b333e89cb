"""What an attempt tells: tallies, spans, whose its records are."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spec.access import Caller
from spec.jobs import JOB_SPEC
from spec.needs import NO_MORE
from spec.settings import Settings
from store import claims, jobs, workers
from store.database import Sessions, connect
from store.files import Files, opened
from store.jobs import Job, Submission
from store.tallies import totals
from telemetry import traces
from telemetry.traces import TracesError
from tests.factories import LEASE, training_json
from tests.logged import logged
from worker import job as jobs_of_workers
from worker.child import Child
from worker.drain import Drain
from worker.tallies import Tallies

POSTED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        database_url=database_url, broker_url="redis://unused", data_dir=tmp_path / "data"
    )


def run(sessions: Sessions, settings: Settings, tallies: Tallies, files: Files, **spec: Any) -> Job:
    """Submits a job with its request, and runs it as a worker does."""
    by = Caller(owner="ada", request="r-1", traceparent=POSTED)
    with sessions.begin() as tx:
        new = Submission(JOB_SPEC.validate_python(training_json(**spec)))
        added = jobs.add(tx, new, by=by)
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
    assert found is not None
    jobs_of_workers.run(
        *found,
        sessions=sessions,
        settings=settings,
        device=torch.device("cpu"),
        drain=Drain(),
        files=files,
        tallies=tallies,
    )
    with sessions.read() as tx:
        return jobs.get(tx, added.id)


def test_a_job_is_counted(sessions: Sessions, settings: Settings) -> None:
    tallies = Tallies()
    job = run(sessions, settings, tallies, opened(settings.checkpoints))
    assert job.state == "succeeded", job.detail
    found = tallies.now()
    size = found.pop("checkpoint_bytes")
    assert size > 1000
    assert found.pop("series_bytes") > 100
    assert found.pop("points") >= 100
    assert found == {
        "claims.first": 1,
        "iterations": 100,
        "checkpoints": 3,  # at the ends of cycles, and at its own
        "ended.succeeded.": 1,
    }


def test_so_is_one_that_fails(sessions: Sessions, settings: Settings) -> None:
    tallies = Tallies()
    arrays = {"name": "arrays", "params": {"path": "nowhere.npz"}}
    assert run(sessions, settings, tallies, opened(settings.checkpoints), data=arrays).reason
    assert tallies.now() == {"claims.first": 1, "ended.failed.invalid": 1}


def test_and_a_checkpoint_that_cannot_be_written(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tallies = Tallies()
    files = opened(settings.checkpoints)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(files, "write", full)
    run(sessions, settings, tallies, files)
    found = tallies.now()
    assert found["checkpoint_failures"] == 3
    assert "checkpoints" not in found


def test_records_and_spans_are_of_the_job_and_its_request(
    sessions: Sessions, settings: Settings
) -> None:
    exporter = InMemorySpanExporter()
    traces.start("stepsize-test", None, exporter=exporter)
    try:
        with logged() as written:
            job = run(sessions, settings, Tallies(), opened(settings.checkpoints))
    finally:
        traces.stop()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"job.attempt", "job.begin", "job.checkpoint", "job.finish"}
    attempt = spans["job.attempt"]
    assert attempt.parent is not None
    assert f"{attempt.parent.span_id:016x}" == POSTED.split("-")[2]
    attributes: Mapping[str, Any] = attempt.attributes or {}
    assert (attributes["outcome"], attributes["job"]) == ("succeeded", job.id)
    told = written.of("worker.running")
    verbs = [each["message"].split()[0] for each in told]
    assert verbs == [*3 * ["job.checkpointed"], "job.succeeded"]
    for each in told:
        assert (each["job"], each["owner"], each["request_id"]) == (job.id, "ada", "r-1")
        assert each["trace_id"] == POSTED.split("-")[1]


def test_without_the_packages_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracesError, match=r"pip install 'stepsize\[otel\]', or unset"):
        traces.start("stepsize-test", "http://127.0.0.1:1")
    traces.start("stepsize-test", None)  # nobody asks for them


@pytest.fixture
def child(sessions: Sessions, settings: Settings) -> Iterator[Child]:
    """As far as it says that it is there."""
    made = Child(settings)
    made.name = f"cpu-{os.getpid()}@here"
    made._device_name = "cpu, 1 threads"
    made._versions = {}
    made._offer = NO_MORE
    made._unit = None
    made._left_out = []
    made._sessions = connect(settings.database_url)
    yield made
    made._sessions.close()


def test_what_is_counted_survives_what_becomes_of_the_row(sessions: Sessions, child: Child) -> None:
    def report() -> None:
        with sessions.begin() as tx:
            child._said = child._tell(tx)

    def total() -> int:
        with sessions.read() as tx:
            return totals(tx).get("iterations", 0)

    child._tallies.add(iterations=5)
    report()
    report()
    assert total() == 5
    with sessions.begin() as tx:  # the reconciler, to which it was lost
        workers.leave(tx, child.name)
    assert total() == 5
    child._tallies.add(iterations=2)
    report()
    report()
    assert total() == 7
    child._tallies.add(iterations=1)
    report()
    with sessions.begin() as tx:
        workers.leave(tx, child.name)
    assert total() == 8
