"""`/metrics`: what it tells, that it stays small, and that it costs the database little."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from api.broker import Broker
from api.changes import Changes
from api.figures import FRESH, OTHERS, QUEUES, Figures, Process, named
from api.frames import Frames
from api.reconciler import Reconciler
from api.streams import Streams
from spec.settings import Settings
from store import figures, workers
from store.database import ReadTx, Sessions
from store.figures import Queue
from tests.factories import claimed, expired, queued, run_out

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(client: TestClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"stepsize_{name}", frozenset(labels.items())]


def report(sessions: Sessions, name: str, queues: list[str], **counted: int) -> None:
    with sessions.begin() as tx:
        workers.report(
            tx,
            name=name,
            device="cuda:0 NVIDIA H200",
            state="busy",
            job_id=None,
            queues=queues,
            versions={},
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            counted=counted,
        )


def test_what_workers_have_counted_is_told(client: TestClient, sessions: Sessions) -> None:
    counted = {"claims.first": 3, "claims.again": 1, "ended.failed.oom": 2, "of_tomorrow": 9}
    report(sessions, "a", ["default"], iterations=500, **counted)
    report(sessions, "b", ["default"], iterations=7, points=10, series_bytes=99)
    queued(sessions)
    run_out(sessions, claimed(sessions).job_id)
    expired(sessions)
    found = scraped(client)
    assert value(found, "iterations_total") == 507
    assert value(found, "points_total") == 10
    assert value(found, "series_bytes_total") == 99
    assert value(found, "claims_total", again="no") == 3
    assert value(found, "claims_total", again="yes") == 1
    assert value(found, "attempts_ended_total", outcome="failed", reason="oom") == 2
    assert value(found, "attempts_ended_total", outcome="lost", reason="") == 1
    assert value(found, "workers", state="busy", device="cuda") == 2
    assert value(found, "queue_workers", queue="default") == 2
    assert value(found, "database_up") == 1
    assert value(found, "led") == 0
    assert not any("tomorrow" in name for name, _ in found)


def test_requests_are_counted_by_route_and_kind_of_status(client: TestClient) -> None:
    client.get("/v1/jobs/job_0")
    client.get("/v1/jobs/job_1")
    client.get("/v1/jobs/job_2", headers={"Prefer": "wait=1"})
    found = scraped(client)
    route = {"method": "GET", "route": "/v1/jobs/{job_id}", "status": "4xx"}
    assert value(found, "request_seconds_count", **route) == 2
    assert value(found, "answers_total", status="404") == 2


def test_series_stay_few_whatever_clients_send(client: TestClient, sessions: Sessions) -> None:
    for i in range(3 * QUEUES):
        queued(sessions, queue=f"q{i}")
    report(sessions, "w", ["served"])
    before = scraped(client)
    for i in range(12):
        client.get(f"/v1/jobs/job_{i}", headers={"X-Request-ID": f"r{i}", "User-Agent": f"u{i}"})
        client.get(f"/nowhere/{i}")
        client.get(f"/v1/workers?x={i}")
        client.post(f"/v1/workers/{i}%0a/drain")
        client.request(f"METHOD{i}", "/v1/jobs")
        client.request(f"METHOD{i}", f"/v1/jobs/{i}")
        client.post("/v1/jobs", content=b"\xff" * i)
    after = scraped(client)
    assert len(after) < 700
    # a route that was asked for has its buckets, and there are few routes
    assert len({name for name, _ in after}) < 60
    new = {labels for name, labels in after.keys() - before.keys() if name.endswith("_count")}
    assert len(new) <= 8, new
    queues = {dict(labels)["queue"] for name, labels in after if name == "stepsize_queue_depth"}
    assert len(queues) == QUEUES + 1
    assert {"served", OTHERS} <= queues
    depths = [number for (name, _), number in after.items() if name == "stepsize_queue_depth"]
    assert sum(depths) == 3 * QUEUES


def test_queues_that_are_served_and_then_deep_ones_have_names() -> None:
    queues = {f"q{i:03}": Queue(ready=i, oldest=timedelta(seconds=i)) for i in range(100)}
    queues["served"] = Queue(workers=1)
    told = named(queues)
    assert list(told)[:2] == ["served", "q099"]
    assert told[OTHERS].ready == sum(range(100 - QUEUES + 1))
    assert told[OTHERS].oldest == timedelta(seconds=100 - QUEUES)
    assert named({})[OTHERS] == Queue()


class Asked:
    """Stands in for the database: how often it was asked, and how long it takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sessions: Sessions) -> None:
        self.times = 0
        self.takes = 0.0
        self.now = 1000.0
        self.down = False
        read = figures.read

        def counted(tx: ReadTx, *, lost_after: timedelta) -> figures.Figures:
            self.times += 1
            self.now += self.takes
            if self.down:
                raise OperationalError("", {}, Exception("gone"))
            return read(tx, lost_after=lost_after)

        monkeypatch.setattr(figures, "read", counted)
        self.figures = Figures(sessions, lost_after=timedelta(minutes=1), clock=lambda: self.now)

    def told(self, name: str) -> list[float]:
        families = {family.name: family for family in self.figures.collect()}
        found = families.get(f"stepsize_{name}")
        return [sample.value for sample in found.samples] if found else []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, sessions: Sessions) -> Asked:
    return Asked(monkeypatch, sessions)


def test_the_database_is_asked_once_in_a_while(asked: Asked) -> None:
    for _ in range(5):
        assert asked.told("database_up") == [1]
    assert asked.times == 1
    asked.now += FRESH + 0.1
    asked.told("database_up")
    assert asked.times == 2


def test_and_less_often_where_that_takes_long(asked: Asked) -> None:
    asked.takes = 3.0
    assert asked.told("figures_seconds") == [3.0]
    asked.now += 100
    asked.told("database_up")
    assert asked.times == 1
    asked.now += 60
    asked.told("database_up")
    assert asked.times == 2


def test_without_a_database_the_process_still_tells_of_itself(
    asked: Asked, client: TestClient
) -> None:
    asked.down = True
    assert asked.told("database_up") == [0]
    assert asked.told("jobs") == []
    found = scraped(client)  # its own figures are read by the same function
    assert value(found, "database_up") == 0
    assert value(found, "streams") == 0
    assert value(found, "database_connections", state="in_use") == 0
    assert not any(name == "stepsize_jobs" for name, _ in found)


def test_every_figure_says_what_it_is(client: TestClient) -> None:
    for family in text_string_to_metric_families(client.get("/metrics").text):
        assert family.documentation.endswith("."), family.name
        assert re.match(r"(stepsize|process)_", family.name), family.name


def test_the_reconciler_says_how_it_goes(
    sessions: Sessions, broker: Broker, settings: Settings
) -> None:
    reconciler = Reconciler(sessions, broker, settings)
    changes = Changes(sessions)
    process = Process(sessions, reconciler.passes, Streams(Frames(sessions), changes), changes)

    def told() -> dict[str, float]:
        samples = [sample for family in process.collect() for sample in family.samples]
        return {each.name.removeprefix("stepsize_"): each.value for each in samples}

    assert told()["leader"] == 0
    assert told()["reconciler_last_success_timestamp_seconds"] == 0
    with reconciler.passes.measured():
        reconciler.step()
    found = told()
    assert (found["leader"], found["reconciler_pass_seconds_count"]) == (1, 1)
    assert 0 < found["reconciler_pass_seconds_sum"] < 10
    assert found["reconciler_last_success_timestamp_seconds"] > 1.7e9
    with pytest.raises(ValueError, match="no"), reconciler.passes.measured():
        raise ValueError("no")
    found = told()
    assert (found["leader"], found["reconciler_failures_total"]) == (0, 1)
    assert found["reconciler_pass_seconds_count"] == 1
