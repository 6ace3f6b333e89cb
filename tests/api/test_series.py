"""Series over HTTP: raw, reduced, as CSV, and honest about what is not a number."""

import csv

import numpy as np
import pytest
from fastapi.testclient import TestClient

from store import leases
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Lease, Progress
from tests.factories import LEASE, claimed, queued

LOSSES = np.random.default_rng(0).random(500).astype(np.float32)
LR = 0.1 + 0.2 * np.arange(500) / 3


def recorded(sessions: Sessions, losses: np.ndarray = LOSSES) -> Lease:
    queued(sessions)
    lease = claimed(sessions)
    val = {"iteration": np.array([250, 500]), "val_loss": np.array([0.5, 0.25])}
    parts = [
        Chunk("train", 0, 0, {"loss": losses[:200], "lr": LR[:200]}),
        Chunk("train", 0, 200, {"loss": losses[200:], "lr": LR[200:]}),
        Chunk("validation", 0, 250, val),
    ]
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 500, parts)], extend=LEASE)
    return lease


def test_every_row_to_the_last_bit(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    body = client.get(f"/v1/jobs/{lease.job_id}/series").json()
    assert body["names"] == ["loss", "lr"]
    assert body["columns"]["iteration"] == list(range(500))
    assert body["columns"]["loss"] == LOSSES.tolist()
    assert body["columns"]["lr"] == LR.tolist()
    assert (body["total_points"], body["returned"], body["next_start"]) == (500, 500, 500)
    assert (body["reduced"], body["nonfinite"]) == (None, {})


def test_the_range_test_of_a_training_has_a_series_of_its_own(
    client: TestClient, sessions: Sessions
) -> None:
    lease = recorded(sessions)
    parts = [
        Chunk("range_test", repeat, 0, {"range_loss": LOSSES[:n], "range_lr": LR[:n]})
        for repeat, n in enumerate((100, 60))
    ]
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 500, parts)], extend=LEASE)
    url = f"/v1/jobs/{lease.job_id}/series"
    for repeat, n in enumerate((100, 60)):
        wanted = {"names": "range_loss,range_lr", "repeat": repeat}
        columns = client.get(url, params=wanted).json()["columns"]
        assert columns["range_loss"] == LOSSES[:n].tolist()
        assert columns["range_lr"] == LR[:n].tolist()
    assert client.get(url).json()["total_points"] == 500
    mixed = client.get(url, params={"names": "loss,range_loss"})
    assert mixed.status_code == 422
    unknown = client.get(url, params={"names": "range_accuracy"})
    assert "records range_loss, range_lr" in unknown.json()["errors"][0]["detail"]
    figures = client.get(f"{url}/summary").json()["data"]
    found = [(e["name"], e["repeat"], e["count"]) for e in figures if e["name"] == "range_loss"]
    assert found == [("range_loss", 0, 100), ("range_loss", 1, 60)]


def test_polling_goes_on_where_it_stopped_until_complete(
    client: TestClient,
    sessions: Sessions,
) -> None:
    lease = recorded(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    body = client.get(url).json()
    assert body["complete"] is False
    rest = client.get(url, params={"start": body["next_start"]}).json()
    assert (rest["returned"], rest["next_start"], rest["complete"]) == (0, 500, False)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    assert client.get(url, params={"start": 500}).json()["complete"] is True
    assert client.get(url, params={"stop": 10**6}).json()["complete"] is True


def test_a_view_has_whole_rows_and_says_so(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    body = client.get(url, params={"points": 40}).json()
    assert body["returned"] <= 40
    assert body["total_points"] == 500
    assert body["reduced"] == {"method": "minmax", "bucket": 32}
    rows = body["columns"]["iteration"]
    assert {0, 499, int(LOSSES.argmin()), int(LOSSES.argmax())} <= set(rows)
    assert body["columns"]["loss"] == LOSSES[rows].tolist()
    assert body["columns"]["lr"] == LR[rows].tolist()
    assert client.get(url, params={"points": 40}).json() == body


def test_a_view_of_few_rows_is_all_of_them(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    body = client.get(f"/v1/jobs/{lease.job_id}/series", params={"points": 500}).json()
    assert (body["returned"], body["reduced"]) == (500, None)


def test_nan_and_infinity_are_null_and_listed(client: TestClient, sessions: Sessions) -> None:
    losses = LOSSES.copy()
    losses[[7, 8, 499]] = [np.nan, np.inf, -np.inf]
    lease = recorded(sessions, losses)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series")
    assert "NaN" not in answer.text
    body = answer.json()
    assert body["nonfinite"] == {"loss": [7, 8, 499]}
    assert [body["columns"]["loss"][t] for t in (7, 8, 499)] == [None] * 3
    summary = client.get(f"/v1/jobs/{lease.job_id}/series/summary").json()["data"]
    assert summary[0]["last"] is None


def test_csv_has_the_same_rows(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [int(row["iteration"]) for row in rows] == list(range(500))
    assert [float(row["loss"]) for row in rows] == LOSSES.tolist()
    assert [float(row["lr"]) for row in rows] == LR.tolist()


def test_other_formats_are_not_acceptable(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series", headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "text/csv" in answer.json()["detail"]


def test_validation_is_a_series_of_its_own(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    body = client.get(f"/v1/jobs/{lease.job_id}/series", params={"names": "val_loss"}).json()
    assert body["columns"] == {"iteration": [250, 500], "val_loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("names=weights", "/names"),
        ("names=", "/names"),
        ("names=loss,val_loss", "/names"),
        ("names=momentum", "/names"),
        ("points=3", "/points"),
        ("points=0", "/points"),
        ("start=-1", "/start"),
        ("start=x", "/start"),
        ("start=99999999999999999999", "/start"),
        ("stop=-5", "/stop"),
        ("repeat=-1", "/repeat"),
        ("point=5", "/point"),
    ],
)
def test_bad_queries_name_the_parameter(
    client: TestClient,
    sessions: Sessions,
    query: str,
    pointer: str,
) -> None:
    lease = recorded(sessions)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series?{query}")
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


def test_summary(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    body = client.get(f"/v1/jobs/{lease.job_id}/series/summary").json()
    found = {each["name"]: each for each in body["data"]}
    assert found.keys() == {"loss", "lr", "val_loss"}
    assert found["loss"]["count"] == 500
    assert found["loss"]["min"] == float(LOSSES.min())
    assert found["loss"]["min_at"] == int(LOSSES.argmin())
    assert found["val_loss"]["last"] == 0.25
