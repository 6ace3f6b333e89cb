"""One trace from POST to the end of a job, as a collector receives it, and the logs of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.service import Service, eventually
from tests.factories import training_json

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        received: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    raise AssertionError("nobody asked for that")
                received.append(ExportTraceServiceRequest.FromString(body))
                paths.add(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> dict[str, tuple[str, Any]]:
        """Name -> service and span, of the one trace."""
        return {
            span.name: (service, span)
            for request in list(self._received)
            for resource in request.resource_spans
            for service in [
                each.value.string_value
                for each in resource.resource.attributes
                if each.key == "service.name"
            ]
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == TRACE
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@pytest.fixture
def service(tmp_path: Path, collector: Collector) -> Iterator[Service]:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'stepsize.db'}")
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "STEPSIZE_LOG": "json",
    }
    try:
        service.migrate()
        service.start_broker()
        service.start_api(**told)
        # Celery warns of a root user before it asks how to log
        service.start_worker(PYTHONWARNINGS="ignore", **told)
        yield service
    except BaseException:
        print(service.logs())  # noqa: T201 - shown when a test fails
        raise
    finally:
        service.stop()


def records(service: Service, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log(name).splitlines()]


def test_one_trace_and_one_request_id_from_post_to_finish(
    service: Service, collector: Collector
) -> None:
    headers = {"X-Request-ID": "r-1", "traceparent": f"00-{TRACE}-{CLIENT}-01"}
    answer = service.http.post("/v1/jobs", json=training_json(), headers=headers)
    job_id = answer.json()["id"]
    assert service.finished(job_id)["state"] == "succeeded"
    wanted = {"POST /v1/jobs", "job.claim", "job.attempt", "job.begin", "job.checkpoint"}
    wanted |= {"job.finish"}
    found = eventually(
        lambda: (spans := collector.spans()).keys() >= wanted and spans, what="all spans"
    )
    assert collector.paths == {"/v1/traces"}
    posted, attempt = found["POST /v1/jobs"][1], found["job.attempt"][1]
    assert posted.parent_span_id.hex() == CLIENT
    for name in ("job.claim", "job.attempt"):
        assert found[name][1].parent_span_id == posted.span_id, name
    for name in ("job.begin", "job.checkpoint", "job.finish"):
        assert found[name][1].parent_span_id == attempt.span_id, name
    assert {name: found[name][0] for name in ("POST /v1/jobs", "job.attempt")} == {
        "POST /v1/jobs": "stepsize-api",
        "job.attempt": "stepsize-worker",
    }
    said = {each.key: each.value for each in attempt.attributes}
    assert said["outcome"].string_value == "succeeded"
    assert said["job"].string_value == job_id

    # every line of both processes is JSON, and those about the job say so
    worker = [each for each in records(service, "worker") if each.get("job") == job_id]
    verbs = [each["message"].split()[0] for each in worker]
    assert list(dict.fromkeys(verbs)) == ["job.claimed", "job.checkpointed", "job.succeeded"]
    for each in worker:
        assert (each["request_id"], each["owner"], each["attempt"]) == ("r-1", "default", 1)
        assert each["worker"].startswith("cpu-")
    assert {each.get("trace_id") for each in worker[1:]} == {TRACE}
    (api,) = [each for each in records(service, "api") if each.get("request_id") == "r-1"]
    assert (api["route"], api["status"], api["trace_id"]) == ("/v1/jobs", 201, TRACE)
    figures = service.http.get("/metrics").text
    assert 'stepsize_claims_total{again="no"} 1.0' in figures
    assert 'stepsize_attempts_ended_total{outcome="succeeded",reason=""} 1.0' in figures
    assert "stepsize_iterations_total 100.0" in figures
