"""Series over HTTP: raw, reduced, as CSV, and honest about what is not a number."""

import csv
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from pyarrow import csv as pacsv
from pyarrow import parquet

from api import formats
from store import jobs, leases, series
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Lease, Progress
from store.series import Rows
from tests.factories import LEASE, claimed, queued

LOSSES = np.random.default_rng(0).random(500).astype(np.float32)
LR = 0.1 + 0.2 * np.arange(500) / 3


def recorded(sessions: Sessions, losses: np.ndarray = LOSSES) -> Lease:
    queued(sessions)
    lease = claimed(sessions)
    val = {
        "iteration": np.array([250, 500]),
        "val_loss": np.array([0.5, 0.25]),
        "val_top_k": np.array([0.75, 1.0]),
    }
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


ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


def table(content: bytes, media: str) -> pa.Table:
    if media == ARROW:
        return pa.ipc.open_stream(content).read_all()
    if media == PARQUET:
        return parquet.read_table(io.BytesIO(content))
    return pacsv.read_csv(io.BytesIO(content))


@pytest.mark.parametrize("media", [ARROW, PARQUET, "text/csv"])
@pytest.mark.parametrize("query", [{}, {"start": 100, "stop": 450}, {"points": 40}, {"start": 500}])
def test_every_format_has_the_rows_of_the_json(
    client: TestClient,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    media: str,
    query: dict[str, int],
) -> None:
    monkeypatch.setattr(series, "PAGE", 64)
    losses = LOSSES.copy()
    losses[[0, 200, 499]] = [np.nan, np.inf, -np.inf]
    url = f"/v1/jobs/{recorded(sessions, losses).job_id}/series"
    rows = client.get(url, params=query).json()["columns"]["iteration"]
    answer = client.get(url, params=query, headers={"Accept": media})
    assert answer.headers["Content-Type"].split(";")[0] == media
    found = table(answer.content, media)
    assert found.column_names == ["iteration", "loss", "lr"]
    assert found["iteration"].to_pylist() == rows
    np.testing.assert_array_equal(np.asarray(found["loss"]).astype(np.float32), losses[rows])
    assert found["lr"].to_pylist() == LR[rows].tolist()


def test_no_connection_is_held_while_rows_are_sent(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "PAGE", 64)
    lease = recorded(sessions)
    pages = series.stream(
        sessions, lease.job_id, ["loss"], series="train", repeat=0, start=0, stop=None
    )
    sizes = []
    for page in formats.written(pages, ARROW):
        assert sessions.engine.pool.checkedout() == 0
        sizes.append(len(page))
    assert len(sizes) == 9  # the last one closes it


def test_a_stream_has_the_rows_that_were_there_at_first_and_no_job_no_end(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "PAGE", 300)
    lease = recorded(sessions)

    def stream() -> Iterator[Rows]:
        return series.stream(
            sessions, lease.job_id, ["loss"], series="train", repeat=0, start=0, stop=None
        )

    pages = stream()
    seen = [next(pages)]
    more = Chunk("train", 0, 500, {"loss": LOSSES, "lr": LR})
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 1000, [more])], extend=LEASE)
    seen += pages
    assert [len(page.iteration) for page in seen] == [300, 200]
    pages = stream()
    next(pages)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
        jobs.remove(tx, lease.job_id)
    with pytest.raises(jobs.JobNotFoundError):
        next(pages)


@pytest.mark.parametrize("media", [ARROW, PARQUET, "text/csv"])
def test_what_is_wrong_is_a_problem_in_every_format(
    client: TestClient, sessions: Sessions, media: str
) -> None:
    lease = recorded(sessions)
    url = f"/v1/jobs/{lease.job_id}/series"
    accept = {"Accept": media}
    assert client.get(url, params={"names": "momentum"}, headers=accept).status_code == 422
    assert client.get("/v1/jobs/job_0/series", headers=accept).status_code == 404


def test_many_jobs_in_one_answer(client: TestClient, sessions: Sessions) -> None:
    leased = [recorded(sessions, LOSSES + each) for each in range(3)]
    ids = [lease.job_id for lease in leased]
    waiting = queued(sessions).id
    wanted = {"jobs": ",".join([*ids, waiting, ids[0]]), "names": "loss", "points": 40}
    found = client.get("/v1/series", params=wanted).json()["data"]
    assert [each["job"] for each in found] == [*ids, waiting]
    for each in found:
        query = {"names": "loss", "points": 40}
        assert each == client.get(f"/v1/jobs/{each['job']}/series", params=query).json()
    assert [each["total_points"] for each in found] == [500, 500, 500, 0]


def test_what_is_wrong_with_many_jobs(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    for unknown in ("job_0", "", "../x", "%00"):
        answer = client.get(f"/v1/series?jobs={lease.job_id},{unknown}")
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
    many = ",".join(f"job_{n}" for n in range(51))
    for query, pointer in [
        (f"jobs={many}", "/jobs"),
        ("names=loss", "/jobs"),
        (f"jobs={lease.job_id}&names=momentum", "/names"),
        (f"jobs={lease.job_id}&points=3", "/points"),
        (f"jobs={lease.job_id}&points=5001", "/points"),
    ]:
        answer = client.get(f"/v1/series?{query}")
        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


def test_other_formats_are_not_acceptable(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series", headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "text/csv" in answer.json()["detail"]


def test_validation_is_a_series_of_its_own(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    body = client.get(f"/v1/jobs/{lease.job_id}/series", params={"names": "val_loss"}).json()
    assert body["columns"] == {"iteration": [250, 500], "val_loss": [0.5, 0.25]}


def test_so_are_the_metrics_that_the_job_asks_for(client: TestClient, sessions: Sessions) -> None:
    lease = recorded(sessions)
    answer = client.get(f"/v1/jobs/{lease.job_id}/series", params={"names": "val_top_k,val_loss"})
    assert answer.json()["columns"]["val_top_k"] == [0.75, 1.0]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("names=weights", "/names"),
        ("names=", "/names"),
        ("names=loss,val_loss", "/names"),
        ("names=momentum", "/names"),
        ("names=val_recall", "/names"),
        ("names=loss,val_top_k", "/names"),
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
    assert found.keys() == {"loss", "lr", "val_loss", "val_top_k"}
    assert found["loss"]["count"] == 500
    assert found["loss"]["min"] == float(LOSSES.min())
    assert found["loss"]["min_at"] == int(LOSSES.argmin())
    assert found["val_loss"]["last"] == 0.25
