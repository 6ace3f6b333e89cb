"""Chunks that cannot be read: the rest is served, in every format, and the answer says so."""

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.damage import header
from store.database import Sessions
from store.series import Damage
from store.summaries import Line
from store.tables import chunks
from tests.api.test_series import ARROW, LOSSES, PARQUET, recorded, table

JSON = "application/json"
MEDIA = [JSON, ARROW, PARQUET, "text/csv"]


def damage(sessions: Sessions, start: int = 200) -> None:
    with sessions.begin() as tx:
        tx.execute(update(chunks).where(chunks.c.start == start).values(data=b"SSC\x01nonsense"))


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("query", [{}, {"points": 40}, {"start": 100}])
def test_what_is_not_damaged_is_served_in_every_format(
    client: TestClient, sessions: Sessions, media: str, query: dict[str, int]
) -> None:
    lease = recorded(sessions)
    damage(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    answer = client.get(url, params=query, headers={"Accept": media})
    assert answer.status_code == 200
    assert answer.headers["Series-Damaged"] == "200-500"
    assert "ETag" not in answer.headers
    expected = {
        "chunk": f"{lease.job_id}/train/0/200",
        "start": 200,
        "stop": 500,
        "reason": "checksum does not match",
    }
    if media == JSON:
        body = answer.json()
        assert body["damaged"] == [expected]
        assert body["total_points"] == 200 - query.get("start", 0)
        assert body["next_start"] == 500
        losses, rows = body["columns"]["loss"], body["columns"]["iteration"]
    else:
        found = table(answer.content, media)
        if media != "text/csv":
            assert json.loads(found.schema.metadata[b"damaged"]) == [expected]
        losses, rows = found["loss"].to_pylist(), found["iteration"].to_pylist()
    if "points" not in query:
        assert rows == list(range(query.get("start", 0), 200))
    assert np.float32(losses).tolist() == LOSSES[rows].tolist()


@pytest.mark.parametrize("media", [ARROW, PARQUET])
def test_what_is_whole_says_nothing_of_damage(
    client: TestClient, sessions: Sessions, media: str
) -> None:
    lease = recorded(sessions)
    damage(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    answer = client.get(url, params={"stop": 200}, headers={"Accept": media})
    assert "Series-Damaged" not in answer.headers
    assert b"damaged" not in (table(answer.content, media).schema.metadata or {})
    assert client.get(url, params={"stop": 200}).json()["damaged"] == []


def test_damage_in_figures_and_comparisons(client: TestClient, sessions: Sessions) -> None:
    good, bad = recorded(sessions), recorded(sessions)
    with sessions.begin() as tx:
        mine = (chunks.c.job_id == bad.job_id) & (chunks.c.start == 200)
        tx.execute(update(chunks).where(mine).values(data=b"nonsense"))
    answer = client.get(f"/v1/jobs/{bad.job_id}/series/summary")
    assert [each["start"] for each in answer.json()["damaged"]] == [200]
    assert [each["count"] for each in answer.json()["data"]] == [200, 200, 2, 2]
    assert "ETag" not in answer.headers
    compared = client.get(f"/v1/series?jobs={good.job_id},{bad.job_id}")
    assert "ETag" not in compared.headers
    assert [len(each["damaged"]) for each in compared.json()["data"]] == [0, 1]
    assert "ETag" in client.get(f"/v1/series?jobs={good.job_id}").headers


def test_damage_is_logged_once(
    client: TestClient, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    lease = recorded(sessions)
    damage(sessions)
    for media in MEDIA:
        client.get(f"/v1/jobs/{lease.job_id}/series", headers={"Accept": media})
    client.get(f"/v1/jobs/{lease.job_id}/series/summary")
    told = [each.message for each in caplog.records if "series.damaged" in each.message]
    assert len(told) == 1
    assert f"chunk={lease.job_id}/train/0/200 stop=500" in told[0]


def test_the_header_of_much_damage_is_short() -> None:
    line = Line("job_1", "train", 0)
    lost = [Damage(line, each, each + 3, "") for each in range(0, 9000, 3)]
    assert header(lost) == "0-9000"
    ranges = header(lost[::2]).split(", ")
    assert len(ranges) == 50
    assert ranges[:2] == ["0-3", "6-9"]
    assert ranges[-1] == "294-8997"
