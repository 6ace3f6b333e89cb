"""Previews, the catalogue of policies, and schedules in jobs: what is refused, and what is odd."""

from time import process_time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.examples import PREVIEWS
from schedules import POLICIES, Triangular2
from store.database import Sessions
from tests.api.test_jobs import finish_range_test
from tests.factories import range_test_json, training_json
from tests.policies import EVALUATED, NAMES, example, schedule


def preview(client: TestClient, **body: object) -> object:
    answer = client.post("/v1/schedules/preview", json=body)
    return answer.json() if answer.status_code == 200 else answer.json()["errors"][0]["pointer"]


def test_preview_is_the_schedule_itself(client: TestClient) -> None:
    given = {"policy": "triangular2", "base_lr": 0.001, "max_lr": 0.006, "step_size": 7}
    expected = Triangular2(base_lr=0.001, max_lr=0.006, step_size=7).lr_at(range(50), iterations=50)
    found = preview(client, schedule=given, iterations=50)
    assert found["columns"] == {"iteration": list(range(50)), "lr": expected.tolist()}
    some = preview(client, schedule=given, iterations=50, points=5)
    assert some["columns"]["iteration"] == [0, 12, 24, 37, 49]
    assert some["columns"]["lr"] == expected[[0, 12, 24, 37, 49]].tolist()


def test_preview_shows_momentum_and_takes_epochs(client: TestClient) -> None:
    given = training_json()["schedule"] | {
        "step_size": {"epochs": 0.5},
        "base_momentum": 0.8,
        "max_momentum": 0.9,
    }
    found = preview(client, schedule=given, iterations=21, iterations_per_epoch=20)
    assert found["columns"]["lr"][10] == 0.1
    assert found["columns"]["momentum"][10] == pytest.approx(0.8)
    assert preview(client, schedule=given, iterations=21) == "/iterations_per_epoch"


def test_epochs_that_make_too_many_iterations(client: TestClient) -> None:
    schedule = training_json()["schedule"] | {"step_size": {"epochs": 2}}
    found = preview(client, schedule=schedule, iterations=9, iterations_per_epoch=10**9)
    assert found == "/schedule/step_size"


def test_long_previews_need_points(client: TestClient) -> None:
    schedule = training_json()["schedule"]
    assert preview(client, schedule=schedule, iterations=10**9) == "/points"
    found = preview(client, schedule=schedule, iterations=10**9, points=3)
    assert found["columns"]["iteration"] == [0, 500_000_000, 999_999_999]
    assert preview(client, schedule=schedule, iterations=0) == "/iterations"
    assert preview(client, schedule={"policy": "x"}, iterations=1) == "/schedule"


@pytest.mark.parametrize("name", PREVIEWS)
def test_every_example_preview(client: TestClient, name: str) -> None:
    assert client.post("/v1/schedules/preview", json=PREVIEWS[name]["value"]).status_code == 200


def test_every_policy_is_in_the_catalogue(client: TestClient) -> None:
    entries = client.get("/v1/schedules").json()["data"]
    assert {each["name"] for each in entries} == {
        policy.model_fields["policy"].default for policy in POLICIES
    }
    for entry in entries:
        assert entry["formula"]
        assert entry["description"]
        assert entry["source"].startswith("https://")
        assert entry["parameters"]["properties"]["policy"]["const"] == entry["name"]
    assert {each["name"] for each in entries if each["stateful"]} == {
        "plateau",
        "hypergradient",
        "auto",
    }
    cyclical = {each["name"] for each in entries if each["cyclical"]}
    assert cyclical >= {"triangular", "triangular2", "exp_range", "sgdr", "snapshot", "piecewise"}
    assert not cyclical & {"constant", "cosine", "one_cycle"}


def test_the_catalogue_is_made_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/v1/schedules")
    for policy in POLICIES:
        monkeypatch.delattr(policy, "title")
    assert client.get("/v1/schedules").content == first.content


@pytest.mark.parametrize("name", EVALUATED)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_policy_can_be_previewed(client: TestClient, name: str) -> None:
    found = preview(client, schedule=example(name), iterations=1000)
    expected = schedule(name).lr_at(range(1000), iterations=1000)
    assert found["columns"]["lr"] == expected.tolist()
    assert ("momentum" in found["columns"]) == (name == "one_cycle")


@pytest.mark.parametrize("name", ["exponential", "one_cycle"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_million_iterations_are_previewed_in_a_moment(client: TestClient, name: str) -> None:
    start = process_time()
    body = {"schedule": example(name, warmup=100), "iterations": 1_000_000}
    answer = client.post("/v1/schedules/preview", json=body)
    assert process_time() - start < 2
    assert len(answer.content) > 20_000_000


def test_auto_has_no_preview(client: TestClient) -> None:
    answer = client.post(
        "/v1/schedules/preview", json={"schedule": example("auto"), "iterations": 9}
    )
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/schedule"
    assert "preview the schedule inside, with numbers" in error["detail"]


CYCLE = {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20}
FLAT = {"policy": "constant", "lr": 0.1}
LATE = {"policy": "cosine", "lr": {"range_test": "auto"}}


def pieces(*inside: Any) -> dict[str, Any]:
    return {"policy": "piecewise", "pieces": list(inside)}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"policy": "exponential", "lr": 1.0, "gamma": 2}, "/schedule/gamma"),
    ({"policy": "exponential", "lr": 1.0}, "/schedule/gamma"),
    (
        pieces(
            {"schedule": FLAT, "length": 5},
            {"schedule": {"policy": "exponential", "lr": 1.0, "gamma": 2}},
        ),
        "/schedule/pieces/1/schedule/gamma",
    ),
    (
        pieces({"schedule": FLAT, "length": 5}, {"schedule": {"policy": "step", "lr": 1.0}}),
        "/schedule/pieces/1/schedule/step_size",
    ),
    (pieces({"schedule": FLAT}, {"schedule": FLAT}), "/schedule/pieces/0/length"),
    (pieces({"schedule": example("plateau")}), "/schedule/pieces/0/schedule"),
    (pieces({"schedule": {**FLAT, "lr": -1}}), "/schedule/pieces/0/schedule/lr"),
    (pieces({"schedule": FLAT, "length": 5}, {"schedule": LATE}), "/schedule/pieces/1/schedule/lr"),
    (LATE, "/schedule/lr"),
    (example("multi_step", milestones=[5, 4]), "/schedule/milestones/1"),
    (example("linear", end_lr=0.5), "/schedule/end_lr"),
    (example("wsd", decay=0.5), "/schedule/decay"),
    (example("wsd", decay={"fraction": 2.0}), "/schedule/decay/fraction"),
    (example("one_cycle", max_momentum=None), "/schedule/max_momentum"),
    (example("one_cycle", pct_start=0.7, three_phase=True), "/schedule/pct_start"),
    (example("noam", warmup=None), "/schedule/warmup"),
    (example("auto", schedule=FLAT), "/schedule/schedule"),
    (example("auto", warmup=5), "/schedule/warmup"),
    (example("auto", schedule={**LATE, "min_lr": -1}), "/schedule/schedule/min_lr"),
    (example("auto", range={"start": 1.0, "end": 0.1}), "/schedule/range/end"),
    (
        example(
            "auto", schedule={**CYCLE, "max_lr": LATE["lr"], "base_lr": {"range_test": "job_0"}}
        ),
        "/schedule/schedule/base_lr/range_test",
    ),
]


@pytest.mark.parametrize(("wrong", "pointer"), WRONG, ids=str)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_wrong_in_a_schedule_is_pointed_at(
    client: TestClient, wrong: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/v1/jobs", json=training_json(schedule=wrong))
    assert answer.status_code == 422, answer.json()
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_policy_can_be_submitted(client: TestClient, name: str) -> None:
    body = training_json(schedule=example(name), evaluate={"every": {"epochs": 1}})
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.json()
    assert answer.json()["spec"]["schedule"].items() >= example(name).items() or name == "piecewise"


def test_auto_takes_the_rest_from_finished_range_tests(
    client: TestClient, sessions: Sessions
) -> None:
    base = {"range_test": finish_range_test(client, sessions)}
    inside = {**CYCLE, "base_lr": base, "max_lr": {"range_test": "auto"}}
    job = client.post("/v1/jobs", json=training_json(schedule=example("auto", schedule=inside)))
    assert job.json()["resolved"]["bounds"] == {"/schedule/base_lr": 0.01}


def test_a_rate_within_a_piece_comes_from_a_range_test(
    client: TestClient, sessions: Sessions
) -> None:
    peak = {**LATE, "lr": {"range_test": finish_range_test(client, sessions)}}
    given = pieces({"schedule": FLAT, "length": 5}, {"schedule": peak})
    job = client.post("/v1/jobs", json=training_json(schedule=given)).json()
    assert job["resolved"]["bounds"] == {"/pieces/1/schedule/lr": 0.02}
    found = preview(client, schedule=given, iterations=6)
    assert found["columns"]["lr"] == [0.1] * 5 + [0.02]


def warned(client: TestClient, **changes: Any) -> list[str]:
    """The warnings of a job, which are the same when it is asked for again."""
    job = client.post("/v1/jobs", json=training_json(**changes)).json()
    assert client.get(f"/v1/jobs/{job['id']}").json()["warnings"] == job["warnings"]
    warnings: list[str] = job["warnings"]
    return warnings


def test_what_is_odd_about_a_job_is_said_at_once(client: TestClient) -> None:
    (warning,) = warned(client, schedule=CYCLE, length={"iterations": 100})
    assert "stops inside a cycle: 100 iterations, and cycle 3 ends at 120" in warning
    assert warned(client, schedule=CYCLE, length={"cycles": 3}) == []
    inside = example("auto", schedule={**CYCLE, "max_lr": {"range_test": "auto"}})
    assert len(warned(client, schedule=inside, length={"iterations": 100})) == 1
    # how many iterations an epoch has is for the worker to find out
    assert warned(client, schedule=CYCLE, length={"epochs": 3}) == []
    assert warned(client, schedule={**CYCLE, "step_size": {"epochs": 1}}) == []
    assert client.post("/v1/jobs", json=range_test_json()).json()["warnings"] == []


def test_cycles_and_snapshots_need_a_policy_with_cycles(client: TestClient) -> None:
    def pointer(**changes: Any) -> str | None:
        answer = client.post("/v1/jobs", json=training_json(**changes)).json()
        return answer["errors"][0]["pointer"] if "errors" in answer else None

    assert pointer(schedule=FLAT, snapshots="cycle_end") == "/snapshots"
    assert pointer(schedule=example("one_cycle"), snapshots={}) == "/snapshots"
    for name in ("triangular", "sgdr", "snapshot"):
        assert pointer(schedule=example(name), snapshots="cycle_end") is None
    both = pieces({"schedule": FLAT, "length": 5}, {"schedule": CYCLE})
    assert pointer(schedule=both, snapshots="cycle_end", length={"cycles": 2}) is None
    none = pieces({"schedule": FLAT, "length": 5}, {"schedule": FLAT})
    assert pointer(schedule=none, snapshots="cycle_end") == "/snapshots"
    assert pointer(schedule=example("snapshot"), length={"cycles": 2}) == "/length/cycles"
    huge = example("sgdr", t_0=1, t_mult=1000)
    assert pointer(schedule=huge, length={"cycles": 1_000_000}) == "/length/cycles"
