"""Sweeps over HTTP: what they would run, what they run, and what comes of it."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.sweeper import Sweeper
from spec.states import Reason
from store import claims, leases
from store.database import Sessions
from store.leases import Lease
from store.tables import sweeps as table
from tests.api.conftest import NotedBroker
from tests.factories import LEASE, range_test_json, record, training_json

SPACE = {
    "/schedule/max_lr": {"low": 0.01, "high": 1, "log": True, "points": 3},
    "/seed": [0, 1],
}
PEAK, SEED = SPACE

Value = Callable[[dict[str, Any]], float | None]


def sweep_json(**changes: Any) -> dict[str, Any]:
    """Six trainings."""
    return {
        "template": training_json(),
        "space": SPACE,
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        **changes,
    }


def submitted(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/sweeps", json=sweep_json(**changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/sweeps/{found['id']}"
    return found


def look(client: TestClient, sweep: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/sweeps/{sweep['id']}").json()
    return found


def claim(sessions: Sessions) -> Lease | None:
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
    return found and found[1]


@pytest.fixture
def sweeper(sessions: Sessions, broker: NotedBroker) -> Sweeper:
    return Sweeper(sessions, broker)


@pytest.fixture
def run(client: TestClient, sessions: Sessions, sweeper: Sweeper) -> Callable[..., int]:
    """Runs whatever may run, one job after another, until nothing is left; how many."""

    def until_done(value: Value, *, parallel: int | None = None) -> int:
        for count in range(10_000):
            sweeper.step()
            lease = claim(sessions)
            if lease is None:
                return count
            job = client.get(f"/v1/jobs/{lease.job_id}").json()
            if parallel is not None:
                counts = client.get(f"/v1/sweeps/{job['sweep']}").json()["counts"]
                assert counts["running"] <= parallel
            record(sessions, lease, 100)
            with sessions.begin() as tx:
                leases.succeed(
                    tx, lease, {"val_accuracy": value(job["spec"]), "seconds": 2, "iterations": 100}
                )
        raise AssertionError("it does not end")

    return until_done


def peak(spec: dict[str, Any]) -> float:
    return -abs(spec["schedule"]["max_lr"] - 0.1)


def test_a_preview_says_what_would_run(client: TestClient) -> None:
    told = client.post("/v1/sweeps/preview", json=sweep_json()).json()
    assert (told["jobs"], told["iterations"], told["seconds"]) == (6, 600, None)
    assert not told["at_most"]
    early = sweep_json(stopping={"name": "asha"})
    assert client.post("/v1/sweeps/preview", json=early).json()["at_most"]
    assert told["sample"][0] == {PEAK: 0.01, SEED: 0}
    assert len(told["sample"]) == 6
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_preview_estimates_by_the_speed_of_like_jobs(
    client: TestClient, run: Callable[..., int]
) -> None:
    submitted(client, space={SEED: [7]})
    run(lambda _: 0.5)
    told = client.post("/v1/sweeps/preview", json=sweep_json()).json()
    assert told["seconds"] == pytest.approx(600 * 2 / 100)
    other = sweep_json(template=training_json(batch_size=64))
    assert client.post("/v1/sweeps/preview", json=other).json()["seconds"] is None


def test_a_sweep_runs_what_it_promised_and_ranks_it(
    client: TestClient, broker: NotedBroker, run: Callable[..., int]
) -> None:
    sweep = submitted(client, name="peaks")
    assert (sweep["promised"], sweep["state"], sweep["best"]) == (6, "queued", None)
    assert sweep["counts"]["queued"] == 6
    assert len(broker.woken) == 6
    assert run(peak) == 6
    done = look(client, sweep)
    assert done["state"] == "succeeded"
    assert done["counts"] == {
        "queued": 0, "running": 0, "paused": 0, "succeeded": 6, "failed": 0, "cancelled": 0
    }  # fmt: skip
    assert done["best"]["parameters"] == {PEAK: 0.1, SEED: 0}
    rows = client.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    assert [(each["parameters"][PEAK], each["parameters"][SEED]) for each in rows] == [
        (rate, seed) for rate in (0.01, 0.1, 1.0) for seed in (0, 1)
    ]
    assert rows[2]["job"] == done["best"]["job"]
    assert rows[2]["value"] == rows[2]["metrics"]["val_accuracy"] == done["best"]["value"]
    listed = client.get(f"/v1/jobs?sweep={sweep['id']}").json()["data"]
    assert {each["id"] for each in listed} == {each["job"] for each in rows}
    assert {each["sweep"] for each in listed} == {sweep["id"]}
    headers = {"Accept": "text/csv"}
    table = client.get(f"/v1/sweeps/{sweep['id']}/results", headers=headers)
    assert table.headers["Content-Type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(table.text)))
    assert [float(each[PEAK]) for each in found] == [each["parameters"][PEAK] for each in rows]
    assert {each["state"] for each in found} == {"succeeded"}


def test_those_that_were_stopped_early_are_not_the_best(
    client: TestClient, sessions: Sessions
) -> None:
    sweep = submitted(client, space={SEED: [0, 1, 2]}, stopping={"name": "asha"})
    why = "stopped after 1 cycle: 0.9 is number 3 of 3, and only the best goes on"
    results = [
        {"val_accuracy": 0.9, "stopped": {"iteration": 40, "why": why}},
        {"val_accuracy": 0.5},
        {"val_accuracy": 0.6},
    ]
    best = []
    for result in results:
        lease = claim(sessions)
        assert lease is not None
        with sessions.begin() as tx:
            leases.succeed(tx, lease, result)
        best.append(look(client, sweep)["best"]["value"])
    assert best == [0.9, 0.5, 0.6]  # the first while there is no other
    path = f"/v1/sweeps/{sweep['id']}/results"
    rows = client.get(path).json()["data"]
    assert [(each["stopped"], each["value"]) for each in rows] == [
        (why, 0.9), (None, 0.5), (None, 0.6)
    ]  # fmt: skip
    assert "stopped" not in rows[0]["metrics"]
    table = client.get(path, headers={"Accept": "text/csv"}).text
    assert [row["stopped"] for row in csv.DictReader(io.StringIO(table))] == [why, "", ""]


@pytest.mark.parametrize("sampler", [{"name": "tpe", "startup": 2}, {"name": "cma_es"}])
def test_samplers_learn_from_those_that_were_stopped(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, sampler: dict[str, Any]
) -> None:
    sweep = submitted(
        client,
        sampler=sampler,
        space={PEAK: SPACE[PEAK]},
        budget={"jobs": 12, "parallel": 1},
        stopping={"name": "median"},
    )
    for number in range(12):
        lease = claim(sessions)
        assert lease is not None
        result: dict[str, Any] = {"val_accuracy": number / 20}
        if number % 2:
            result["stopped"] = {"iteration": 40, "why": "stopped after 1 cycle"}
        record(sessions, lease, 40 if number % 2 else 100)
        with sessions.begin() as tx:
            leases.succeed(tx, lease, result)
        sweeper.step()
    done = look(client, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 12)
    assert done["best"]["value"] == 10 / 20


def test_no_more_jobs_at_one_time_than_the_budget_says(
    client: TestClient, broker: NotedBroker, run: Callable[..., int]
) -> None:
    sweep = submitted(client, budget={"parallel": 2})
    assert len(broker.woken) == 2
    assert run(peak, parallel=2) == 6
    assert look(client, sweep)["state"] == "succeeded"


@pytest.mark.parametrize("name", ["tpe", "cma_es", "random", "quasi_random"])
def test_samplers_keep_their_promise(
    client: TestClient, run: Callable[..., int], name: str
) -> None:
    space = {PEAK: {"low": 0.01, "high": 1, "log": True}}
    budget = {"jobs": 12, "parallel": 3}
    sweep = submitted(client, space=space, sampler={"name": name}, budget=budget)
    assert sweep["promised"] == 12
    assert run(peak, parallel=3) == 12
    done = look(client, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 12)
    rows = client.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    assert len({each["parameters"][PEAK] for each in rows}) == 12
    assert abs(done["best"]["parameters"][PEAK] - 0.1) < 0.1


def test_coarse_to_fine_looks_where_the_loss_fell(
    client: TestClient, run: Callable[..., int]
) -> None:
    sweep = submitted(client, space={}, sampler={"name": "coarse_to_fine", "iterations": 10})
    ran = run(lambda spec: -abs(spec["schedule"].get("max_lr", spec["schedule"].get("lr")) - 0.1))
    done = look(client, sweep)
    assert done["state"] == "succeeded"
    assert ran == sum(done["counts"].values()) <= sweep["promised"]
    assert done["best"]["parameters"]
    lengths = [
        client.get(f"/v1/jobs/{each['job']}").json()["spec"]["length"]
        for each in client.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    ]
    rows = client.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    assert [row["short"] for row in rows] == [each == {"iterations": 10} for each in lengths]
    assert lengths[0] == {"iterations": 10}
    assert lengths[-1] == {"iterations": 100}


def test_equal_configurations_run_once(client: TestClient) -> None:
    twice = {"/optimizer/params": [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": False}]}
    sweep = submitted(client, space=twice)
    assert sweep["promised"] == 1


def test_a_budget_of_iterations_is_never_passed(
    client: TestClient, run: Callable[..., int]
) -> None:
    sweep = submitted(client, budget={"iterations": 350})
    assert run(peak) == 3
    done = look(client, sweep)
    assert (done["state"], done["ending"]) == ("succeeded", "its budget of 350 iterations is spent")
    assert done["counts"]["cancelled"] == 3


def test_a_budget_of_iterations_pays_for_the_range_tests_of_automatic_schedules(
    client: TestClient, sessions: Sessions
) -> None:
    auto = {"policy": "auto", "range": {"iterations": 50}, "repeats": 2}
    template = {**training_json(), "schedule": auto, "length": {"iterations": 100}}
    asked = {"template": template, "space": {SEED: [0, 1, 2]}, "budget": {"iterations": 850}}
    assert client.post("/v1/sweeps/preview", json=sweep_json(**asked)).json()["iterations"] == 850
    submitted(client, **asked)
    assert [claim(sessions) is None for _ in range(3)] == [False, False, True]


def test_a_budget_of_time_stops_what_runs(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client, budget={"seconds": 1e-3})
    lease = claim(sessions)
    assert lease
    sweeper.step()  # it has begun
    for _ in range(20):  # by then a thousandth of a second has passed
        sweeper.step()
    stopped = look(client, sweep)
    assert stopped["ending"] == "its budget of 0.001 s is spent"
    assert (stopped["counts"]["cancelled"], stopped["counts"]["running"]) == (5, 1)
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, lease)
    sweeper.step()
    assert look(client, sweep)["finished_at"]


def test_a_failed_job_stalls_nothing_and_can_be_retried(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, run: Callable[..., int]
) -> None:
    sweep = submitted(client, budget={"parallel": 1})
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    assert run(peak) == 5
    done = look(client, sweep)
    assert (done["state"], done["counts"]["failed"]) == ("succeeded", 1)
    again = client.post(f"/v1/sweeps/{sweep['id']}/retry").json()
    assert (again["state"], again["counts"]["queued"]) == ("running", 1)
    assert run(peak) == 1
    assert look(client, sweep)["counts"]["succeeded"] == 6


def test_a_sweep_is_paused_resumed_and_cancelled(client: TestClient, sessions: Sessions) -> None:
    sweep = submitted(client)
    address = f"/v1/sweeps/{sweep['id']}"
    for verb, state in (("pause", "paused"), ("pause", "paused"), ("resume", "queued")):
        answer = client.post(f"{address}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert (claim(sessions) is None) == (state == "paused")
    assert client.post(f"{address}/pause").json()["counts"]["running"] == 1
    cancelled = client.post(f"{address}/cancel").json()
    assert cancelled["counts"]["cancelled"] == 5


def test_a_request_that_is_sent_again_makes_one_sweep(client: TestClient) -> None:
    once = {"Idempotency-Key": "k"}
    first, again = (client.post("/v1/sweeps", json=sweep_json(), headers=once) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(client.get("/v1/sweeps").json()["data"]) == 1


def test_two_processes_lead_on_the_same_sweep(
    client: TestClient, sessions: Sessions, broker: NotedBroker
) -> None:
    space = {PEAK: {"low": 0.01, "high": 1, "log": True}}
    budget = {"jobs": 9, "parallel": 3}
    sweep = submitted(client, space=space, sampler={"name": "tpe"}, budget=budget)
    leaders = [Sweeper(sessions, broker) for _ in range(2)]
    for turn in range(100):
        for leader in leaders:
            leader.step()
        lease = claim(sessions)
        if lease is None:
            break
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {"val_accuracy": turn / 100})
    done = look(client, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 9)


def test_a_sweep_that_cannot_be_led_on_does_not_hold_up_the_others(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    broken, other = submitted(client), submitted(client, space={SEED: [7]}, budget={"parallel": 1})
    with sessions.begin() as tx:
        tx.execute(table.update().where(table.c.id == broken["id"]).values(spec={"of": "old"}))
        found = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
    assert found
    sweeper.step()
    assert look(client, other)["state"] == "queued"
    client.post(f"/v1/sweeps/{other['id']}/cancel")
    sweeper.step()
    assert look(client, other)["finished_at"]


def test_what_a_sweep_takes_from_others_may_be_gone_when_it_goes_on(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    ranged = client.post("/v1/jobs", json=range_test_json()).json()["id"]
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"suggestion": {"base_lr": 0.01, "max_lr": 0.1}})
    bounds = {name: {"range_test": ranged} for name in ("base_lr", "max_lr")}
    template = training_json(schedule={"policy": "triangular", "step_size": 10, **bounds})
    space = {"/optimizer/params/momentum": {"low": 0.5, "high": 0.9}}
    budget = {"jobs": 4, "parallel": 1}
    sweep = submitted(
        client, template=template, space=space, sampler={"name": "tpe"}, budget=budget
    )
    assert client.delete(f"/v1/jobs/{ranged}").status_code == 204
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"val_accuracy": 0.5})
    sweeper.step()
    done = look(client, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 1)
    assert f"there is no job {ranged}" in done["ending"]


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"space": {}}, "", "nothing to vary"),
        ({"space": {"seed": [1]}}, "/space/seed", ""),
        ({"space": {"/seed": []}}, "/space/~1seed", "at least 1"),
        ({"space": {"/nowhere": [1]}}, "/space/~1nowhere", ""),
        ({"space": {PEAK: [0.001]}}, f"/space/{PEAK.replace('/', '~1')}", "constraints"),
        ({"space": {PEAK: {"low": 0.1, "high": 1}}}, "", "budget"),
        ({"sampler": {"name": "tpe"}}, "/budget/jobs", "how many jobs"),
        ({"sampler": {"name": "guess"}}, "/sampler", ""),
        ({"constraints": ["/seed > 5"]}, "", ""),
        ({"template": {"kind": "training"}}, "/template/model", ""),
        ({"template": training_json(model={"name": "x"})}, "/template/model/name", ""),
        ({"budget": {"jobs": 0}}, "/budget/jobs", ""),
        ({"space": {"seed": [0]}}, "/space/seed", "must be a JSON pointer into the template"),
        ({"stopping": {"name": "sha"}}, "/stopping/name", ""),
        (
            {"stopping": {"name": "asha"}, "template": range_test_json(), "space": {SEED: [1]}},
            "/stopping",
            "range tests have no cycles to compare",
        ),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, changes: dict[str, Any], pointer: str, detail: str
) -> None:
    for path in ("/v1/sweeps", "/v1/sweeps/preview"):
        answer = client.post(path, json=sweep_json(**changes))
        assert answer.status_code == 422, answer.text
        errors = answer.json()["errors"]
        assert any(each["pointer"].startswith(pointer) for each in errors), errors
        assert any(detail in each["detail"] for each in errors), errors
    assert client.get("/v1/sweeps").json()["data"] == []


def test_sweeps_are_listed_newest_first(client: TestClient) -> None:
    made = [submitted(client, space={SEED: [each]})["id"] for each in range(3)]
    first = client.get("/v1/sweeps?limit=2").json()
    assert [each["id"] for each in first["data"]] == made[:0:-1]
    rest = client.get(f"/v1/sweeps?cursor={first['next_cursor']}").json()
    assert [each["id"] for each in rest["data"]] == made[:1]
    assert rest["next_cursor"] is None


def test_ten_thousand_jobs_in_one_request(client: TestClient) -> None:
    space = {SEED: {"low": 0, "high": 9_999, "integer": True, "step": 1}}
    sweep = submitted(client, space=space, budget={"parallel": 8})
    assert sweep["promised"] == 10_000
    cancelled = client.post(f"/v1/sweeps/{sweep['id']}/cancel").json()
    assert (cancelled["state"], cancelled["counts"]["cancelled"]) == ("cancelled", 10_000)
