"""The demonstration where the range test has no answer."""

import json
from pathlib import Path

import httpx
import pytest

from stepsize import Client, StepsizeError
from stepsize.demo import show

JOB = {"id": "job_1", "kind": "range_test", "state": "queued", "name": "digits range test"}


@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        (
            {
                "state": "succeeded",
                "result": {"status": "no_descent", "advice": "Try another model."},
            },
            r"the range test ended with no_descent\. Try another model\.",
        ),
        (
            {"state": "failed", "error": {"reason": "oom", "detail": "8 GiB are too little"}},
            "digits range test failed: 8 GiB are too little",
        ),
    ],
)
def test_no_bounds_are_invented(tmp_path: Path, end: dict[str, object], complaint: str) -> None:
    submitted: list[dict[str, object]] = []
    cancelled: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path:
            case "GET", "/v1/jobs":
                return httpx.Response(200, json={"data": [{**JOB, "id": "job_0"}]})
            case "POST", "/v1/jobs":
                submitted.append(json.loads(request.content))
                return httpx.Response(201, json=JOB)
            case "POST", path:
                cancelled.append(path)
                return httpx.Response(200, json=JOB)
            case _:
                return httpx.Response(200, json={**JOB, **end})

    client = Client("http://stepsize.test", http_transport=httpx.MockTransport(handle))
    with pytest.raises(StepsizeError, match=complaint):
        show(client, "digits", tmp_path, tend=lambda: None)
    assert [spec["kind"] for spec in submitted] == ["range_test"]
    assert cancelled == ["/v1/jobs/job_0/cancel"]  # what an interrupted demonstration left
    assert list(tmp_path.iterdir()) == []
