"""Checkpoints over HTTP: listed, downloaded, and explained where they are not there."""

import asyncio
from collections.abc import Callable, MutableMapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from spec.settings import Settings
from store.checkpoints import Saved
from store.database import Sessions
from store.files import Directory, Files, opened
from tests.api.conftest import Checkpointed, NotedBroker
from tests.factories import claimed, queued, record


class Oddly(Directory):
    """Files that open as a test wants them to."""

    def __init__(self, root: Path, open_: Callable[[str], BinaryIO]) -> None:
        super().__init__(root)
        self.open = open_  # type: ignore[method-assign]  # what each test is about


def over(sessions: Sessions, settings: Settings, files: Files) -> TestClient:
    app = create_app(sessions, NotedBroker(), settings, files)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_they_are_listed_oldest_first(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    url = f"/v1/jobs/{job.id}/checkpoints"
    assert client.get(url).json() == {"data": []}
    lease = claimed(sessions)
    contents = {n: checkpointed(lease, n, lasting=n == 10) for n in (10, 20, 30)}
    listed = client.get(url).json()["data"]
    assert all(each.pop("created_at").endswith("Z") for each in listed)
    assert listed == [
        {
            "iteration": n,
            "attempt": 1,
            "bytes": len(content),
            "sha256": sha256(content).hexdigest(),
            "lasting": n == 10,
        }
        for n, content in contents.items()
    ]
    assert client.get(f"/v1/jobs/{job.id}").json()["checkpoint"] == 30


def test_a_download_is_the_file(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    content = checkpointed(claimed(sessions), 20)
    url = f"/v1/jobs/{job.id}/checkpoints/20"
    answer = client.get(url)
    assert answer.content == content
    etag = f'"{sha256(content).hexdigest()}"'
    assert answer.headers.items() >= {
        ("content-type", "application/octet-stream"),
        ("content-length", str(len(content))),
        ("content-disposition", f'attachment; filename="{job.id}-20.ckpt"'),
        ("etag", etag),
    }
    again = client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_one_that_is_not_there_is_404_and_says_which_are(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    url = f"/v1/jobs/{job.id}/checkpoints"
    assert client.get(f"{url}/5").json()["detail"] == f"{job.id} has no checkpoint"
    lease = claimed(sessions)
    for iteration in (10, 20):
        checkpointed(lease, iteration)
    answer = client.get(f"{url}/5")
    assert answer.status_code == 404
    assert "has no checkpoint at iteration 5; it has some at 10, 20" in answer.json()["detail"]


@pytest.mark.parametrize("iteration", ["0", "-1", "1.5", "latest", "9" * 30, "%00"])
def test_what_is_no_iteration_is_refused(
    client: TestClient, sessions: Sessions, iteration: str
) -> None:
    answer = client.get(f"/v1/jobs/{queued(sessions).id}/checkpoints/{iteration}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/iteration"


def test_a_file_out_of_reach_names_the_setting(
    client: TestClient, sessions: Sessions, settings: Settings, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    checkpointed(claimed(sessions), 20)
    opened(settings.checkpoints).remove_folder(job.id)
    answer = client.get(f"/v1/jobs/{job.id}/checkpoints/20")
    assert answer.status_code == 404
    assert "STEPSIZE_CHECKPOINT_URL" in answer.json()["detail"]


def test_a_place_that_does_not_answer_is_503_and_tells_no_paths(
    sessions: Sessions, settings: Settings, checkpointed: Checkpointed, tmp_path: Path
) -> None:
    def refuse(name: str) -> BinaryIO:
        raise PermissionError(13, "Permission denied", f"/secret/{name}")

    job = queued(sessions)
    checkpointed(claimed(sessions), 20)
    client = over(sessions, settings, Oddly(tmp_path, refuse))
    answer = client.get(f"/v1/jobs/{job.id}/checkpoints/20")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "secret" not in answer.text


def test_a_file_is_never_in_memory_as_a_whole(
    sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    size = 8 << 20

    class Zeros(BytesIO):
        left = size

        def read(self, count: int | None = -1) -> bytes:
            assert count is not None
            assert 0 < count < size
            given = bytes(min(count, self.left))
            self.left -= len(given)
            return given

    file = Zeros()
    job = queued(sessions)
    saved = Saved(20, "large", size, "0" * 64, lasting=False)
    record(sessions, claimed(sessions), 20, checkpoints=[saved])
    client = over(sessions, settings, Oddly(tmp_path, lambda _: file))
    assert client.get(f"/v1/jobs/{job.id}/checkpoints/20").headers["Content-Length"] == str(size)
    assert file.left == 0
    assert file.closed


def test_a_client_that_goes_away_leaves_no_file_open(
    sessions: Sessions, settings: Settings, tmp_path: Path
) -> None:
    file = BytesIO(bytes(8 << 20))
    job = queued(sessions)
    saved = Saved(20, "large", 8 << 20, "0" * 64, lasting=False)
    record(sessions, claimed(sessions), 20, checkpoints=[saved])
    app = create_app(sessions, NotedBroker(), settings, Oddly(tmp_path, lambda _: file))
    path = f"/v1/jobs/{job.id}/checkpoints/20"
    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }

    async def gone() -> None:
        begun = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                begun.set()
                await asyncio.Event().wait()  # nobody reads on

        await asyncio.wait_for(app(scope, receive, send), timeout=30)

    asyncio.run(gone())
    assert file.closed


def test_files_that_cannot_be_deleted_do_not_bring_the_job_back(
    sessions: Sessions, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Kept(Directory):
        def remove_folder(self, folder: str) -> None:
            raise PermissionError(f"not allowed: {folder}")

    job = queued(sessions)
    client = over(sessions, settings, Kept(tmp_path))
    client.post(f"/v1/jobs/{job.id}/cancel")
    assert client.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert client.get(f"/v1/jobs/{job.id}").status_code == 404
    assert f"job.files_left job={job.id}" in caplog.text
