"""Whether a client has the series it asks for already."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from store import compaction, leases
from store.chunks import Chunk
from store.database import Sessions
from tests.api.test_series import ARROW, LOSSES, LR, PARQUET, recorded
from tests.factories import record

JSON = "application/json"
MEDIA = [JSON, ARROW, PARQUET, "text/csv"]


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("query", ["", "?points=40", "?start=500"])
def test_a_weak_etag_while_nothing_is_added(
    client: TestClient, sessions: Sessions, media: str, query: str
) -> None:
    lease = recorded(sessions)
    url = f"/v1/jobs/{lease.job_id}/series{query}"

    def etag(known: str = "") -> str:
        answer = client.get(url, headers={"Accept": media, "If-None-Match": known})
        found: str = answer.headers["ETag"]
        assert found.startswith('W/"')
        assert answer.status_code == (304 if known == found else 200)
        assert "Accept" in answer.headers["Vary"].split(", ")
        assert bool(answer.content) == (known != found)
        return found

    first = etag()
    assert etag(first) == first
    more = Chunk("train", 0, 500, {"loss": LOSSES, "lr": LR})
    record(sessions, lease, 1000, more)
    second = etag(first)
    assert second != first
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    third = etag(second)  # it is complete now
    assert third != second
    compacted(sessions)
    assert etag(third) == third


def compacted(sessions: Sessions) -> None:
    with sessions.read() as tx:
        (job,) = compaction.due(tx)
        blocks = compaction.pending(tx, job)
    for block in blocks:
        with sessions.begin() as tx:
            assert compaction.compact(tx, job, block)
    with sessions.begin() as tx:
        compaction.settle(tx, job)


def test_every_representation_has_an_etag_of_its_own(
    client: TestClient, sessions: Sessions
) -> None:
    lease = recorded(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    tags = [client.get(url, headers={"Accept": media}).headers["ETag"] for media in MEDIA]
    assert len(set(tags)) == len(MEDIA)
    answer = client.get(url, headers={"Accept": ARROW, "If-None-Match": tags[0]})
    assert answer.status_code == 200


def test_figures_and_comparisons_have_weak_etags(client: TestClient, sessions: Sessions) -> None:
    first, second = recorded(sessions), recorded(sessions)
    for url in (
        f"/v1/jobs/{first.job_id}/series/summary",
        f"/v1/series?jobs={first.job_id}",
        f"/v1/series?jobs={first.job_id},{second.job_id}",
    ):
        tag = client.get(url).headers["ETag"]
        again = client.get(url, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        record(sessions, first, 500)
        changed = client.get(url, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.headers["ETag"] != tag


def test_that_nothing_has_changed_is_known_without_a_look_at_the_chunks(
    client: TestClient, sessions: Sessions
) -> None:
    lease = recorded(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    for url in (
        f"/v1/jobs/{lease.job_id}/series",
        f"/v1/jobs/{lease.job_id}/series/summary",
        f"/v1/series?jobs={lease.job_id}",
    ):
        tag = client.get(url).headers["ETag"]
        with statements(sessions) as seen:
            assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
        assert len(seen) == 1
        assert "FROM jobs" in seen[0]


@contextmanager
def statements(sessions: Sessions) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(sessions.engine, "before_cursor_execute", note)
    yield seen
    event.remove(sessions.engine, "before_cursor_execute", note)


def test_a_bad_query_is_refused_whatever_the_client_has(
    client: TestClient, sessions: Sessions
) -> None:
    lease = recorded(sessions)
    known = {"If-None-Match": "*"}
    for url in (f"/v1/jobs/{lease.job_id}/series?", f"/v1/series?jobs={lease.job_id}&"):
        assert client.get(f"{url}names=weights", headers=known).status_code == 422
        assert client.get(f"{url}names=loss", headers=known).status_code == 304
    assert client.get("/v1/jobs/job_0/series", headers=known).status_code == 404
