"""Recipes over HTTP: the learning rates are found, the schedules compared, whoever leads on."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.sweeper import Sweeper
from spec.states import Reason
from store import leases
from store.database import Sessions
from store.leases import Lease
from tests.api.conftest import NotedBroker
from tests.api.test_sweeps import claim, look
from tests.factories import range_test_json, record, training_json

TEMPLATE = {name: each for name, each in training_json().items() if name != "schedule"}
RATES = {"base_lr": 0.02, "max_lr": 0.08, "fixed_lr": 0.05}
OK = {"status": "ok", "suggestion": RATES, "seconds": 1, "iterations": 900}
NOTHING = {"status": "no_descent", "suggestion": None, "advice": "Raise the end."}
SEARCH = {"name": "coarse_to_fine", "low": 1e-4, "high": 1, "iterations": 20, "rounds": 1}
STEP, POLICY, SEED = "/tags/step", "/schedule/policy", "/seed"
BOTH = [{"policy": "constant"}, {"policy": "triangular2"}]

Run = Callable[..., int]


def recipe_json(**changes: Any) -> dict[str, Any]:
    """A range test, then two schedules with two seeds."""
    return {
        "kind": "recipe",
        "template": TEMPLATE,
        "schedules": BOTH,
        "seeds": [0, 1],
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        **changes,
    }


def submitted(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/sweeps", json=recipe_json(**changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rows(client: TestClient, sweep: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/sweeps/{sweep['id']}/results").json()["data"]
    return found


def result(spec: dict[str, Any]) -> dict[str, Any]:
    """What a job comes to: the fixed rate is best, and the higher seed."""
    if spec["kind"] == "range_test":
        return OK
    rate = spec["schedule"].get("lr", 1.0)
    value = None if rate > 0.9 and spec["seed"] == 0 else spec["seed"] - abs(rate - 0.05)
    return {"val_accuracy": value, "seconds": 2, "iterations": 100}


@pytest.fixture
def sweeper(sessions: Sessions, broker: NotedBroker) -> Sweeper:
    return Sweeper(sessions, broker)


@pytest.fixture
def run(client: TestClient, sessions: Sessions, broker: NotedBroker) -> Run:
    """Runs whatever may run, each step led on by a process of its own; how many jobs."""

    def until_done(outcome: Callable[[dict[str, Any]], dict[str, Any]] = result) -> int:
        for count in range(1000):
            Sweeper(sessions, broker).step()
            lease = claim(sessions)
            if lease is None:
                return count
            spec = client.get(f"/v1/jobs/{lease.job_id}").json()["spec"]
            record(sessions, lease, 10)
            with sessions.begin() as tx:
                leases.succeed(tx, lease, outcome(spec))
        raise AssertionError("it does not end")

    return until_done


def test_from_one_request_to_the_comparison(
    client: TestClient, broker: NotedBroker, run: Run
) -> None:
    sweep = submitted(client, name="which schedule?")
    assert (sweep["promised"], sweep["counts"]["queued"], sweep["best"]) == (5, 1, None)
    assert sweep["spec"]["find"]["repeats"] == 3
    assert len(broker.woken) == 1
    assert run() == 5
    done = look(client, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 5)
    assert done["ending"] == "every configuration has been chosen"
    test, *compared = rows(client, sweep)
    assert (test["parameters"], test["short"]) == ({STEP: "range_test", SEED: 2}, True)
    assert [(each["parameters"][POLICY], each["parameters"][SEED]) for each in compared] == [
        ("constant", 0), ("triangular2", 0), ("constant", 1), ("triangular2", 1)
    ]  # fmt: skip
    assert not any(each["short"] for each in compared)
    assert done["best"]["parameters"] == compared[2]["parameters"]
    listed = client.get(f"/v1/jobs?sweep={sweep['id']}&tag=step:compare").json()["data"]
    assert {each["id"] for each in listed} == {each["job"] for each in compared}
    schedule = listed[0]["spec"]["schedule"]
    assert (schedule["base_lr"], schedule["max_lr"], schedule["step_size"]) == (0.02, 0.08, 16)


@pytest.mark.parametrize("find", [{"name": "range_test"}, SEARCH])
@pytest.mark.parametrize("budget", [{}, {"parallel": 1}, {"parallel": 3}, {"iterations": 10**6}])
def test_it_keeps_its_promise(
    client: TestClient, run: Run, find: dict[str, Any], budget: dict[str, Any]
) -> None:
    sweep = submitted(client, find=find, budget=budget)
    ran = run()
    done = look(client, sweep)
    assert (done["state"], ran) == ("succeeded", done["counts"]["succeeded"])
    assert 5 <= ran <= sweep["promised"]
    found = rows(client, sweep)
    assert [each["parameters"][STEP] for each in found].count("compare") == 4
    assert len({each["job"] for each in found}) == ran


def test_the_best_is_none_of_those_that_looked_for_the_rates(client: TestClient, run: Run) -> None:
    sweep = submitted(client, find=SEARCH)

    def outcome(spec: dict[str, Any]) -> dict[str, Any]:
        looked = spec["tags"]["step"] != "compare"
        return {"val_accuracy": spec["schedule"].get("lr", 0) if looked else -1.0}

    run(outcome)
    assert look(client, sweep)["best"]["parameters"][STEP] == "compare"


def test_two_processes_lead_on_the_same_recipe(
    client: TestClient, sessions: Sessions, broker: NotedBroker
) -> None:
    sweep = submitted(client, find=SEARCH, budget={"parallel": 2})
    leaders = [Sweeper(sessions, broker) for _ in range(2)]
    open_leases: list[Lease] = []
    for _ in range(100):
        for leader in leaders:
            leader.step()
        if lease := claim(sessions):
            open_leases.append(lease)
            if len(open_leases) < 2:
                continue
        if not open_leases:
            break
        ended = open_leases.pop()
        with sessions.begin() as tx:
            leases.succeed(tx, ended, {"val_accuracy": 0.5})
    done = look(client, sweep)
    assert done["state"] == "succeeded"
    assert sum(done["counts"].values()) == done["counts"]["succeeded"] <= sweep["promised"]


def test_a_range_test_that_suggests_nothing_ends_it_and_says_what_to_do(
    client: TestClient, run: Run
) -> None:
    sweep = submitted(client)
    assert run(lambda _: NOTHING) == 1
    done = look(client, sweep)
    assert done["state"] == "failed"
    assert "'no_descent' and suggests no learning rate. Raise the end. Then" in done["ending"]
    again = client.post(f"/v1/sweeps/{sweep['id']}/retry")
    assert again.status_code == 409
    assert "none of its jobs failed" in again.json()["detail"]
    assert look(client, sweep)["ending"] == done["ending"]


def test_it_goes_on_after_a_retry_of_what_was_to_find_the_rates(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, run: Run
) -> None:
    sweep = submitted(client)
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    sweeper.step()
    done = look(client, sweep)
    assert done["state"] == "failed"
    assert "the range test failed: see what its job says, then retry" in done["ending"]
    again = client.post(f"/v1/sweeps/{sweep['id']}/retry").json()
    assert (again["state"], again["ending"], again["counts"]["queued"]) == ("running", None, 1)
    assert run() == 5
    assert look(client, sweep)["state"] == "succeeded"


def test_trainings_that_fail_or_diverge_stall_nothing(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, run: Run
) -> None:
    sweep = submitted(client, budget={"parallel": 1})
    for ended in ("range test", "failed"):
        lease = claim(sessions)
        assert lease
        with sessions.begin() as tx:
            if ended == "failed":
                leases.fail(tx, lease, Reason.CODE, "broken")
            else:
                leases.succeed(tx, lease, OK)
        sweeper.step()
    assert run(lambda _: {"val_accuracy": None, "diverged_at": 3}) == 3
    done = look(client, sweep)
    assert (done["state"], done["best"]) == ("succeeded", None)
    assert (done["counts"]["failed"], done["counts"]["succeeded"]) == (1, 4)


def test_a_deleted_range_test_changes_nothing_for_what_is_to_come(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, run: Run
) -> None:
    sweep = submitted(client, budget={"parallel": 1})
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.succeed(tx, lease, OK)
    sweeper.step()
    assert client.delete(f"/v1/jobs/{lease.job_id}").status_code == 204
    assert run() == 4
    assert look(client, sweep)["state"] == "succeeded"


def test_rates_that_do_not_suit_a_schedule_end_it_before_the_others_train(
    client: TestClient, run: Run
) -> None:
    schedules = [{"policy": "constant"}, {"policy": "triangular", "base_lr": 0.5}]
    sweep = submitted(client, schedules=schedules, budget={"parallel": 1})
    assert run() == 1
    assert "/schedules/1/max_lr: must be >= base_lr" in look(client, sweep)["ending"]


def test_it_is_paused_resumed_and_cancelled(client: TestClient, run: Run) -> None:
    sweep = submitted(client)
    address = f"/v1/sweeps/{sweep['id']}"
    assert client.post(f"{address}/pause").json()["state"] == "paused"
    assert run() == 0
    assert client.post(f"{address}/resume").json()["state"] == "queued"
    assert client.post(f"{address}/cancel").json()["state"] == "cancelled"
    assert run() == 0
    other = submitted(client)
    assert run() == 5
    assert look(client, other)["state"] == "succeeded"


def test_a_preview_says_what_each_step_costs(client: TestClient, run: Run) -> None:
    told = client.post("/v1/sweeps/preview", json=recipe_json()).json()
    assert (told["jobs"], told["iterations"], told["seconds"]) == (5, 2700 + 2 * 196, None)
    assert [(each["name"], each["jobs"], each["iterations"]) for each in told["steps"]] == [
        ("range_test", 1, 2700), ("compare", 4, 392)
    ]  # fmt: skip
    assert told["sample"][0] == {STEP: "range_test", SEED: 2}
    assert told["sample"][1] == {STEP: "compare", POLICY: "constant", SEED: 0}
    assert client.get("/v1/jobs").json()["data"] == []
    submitted(client)
    run()
    again = client.post("/v1/sweeps/preview", json=recipe_json(find=SEARCH)).json()
    assert [each["name"] for each in again["steps"]] == ["coarse", "fine", "compare"]
    assert [each["iterations"] for each in again["steps"]] == [100, 500, 392]
    assert all(each["seconds"] > 0 for each in again["steps"])


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"kind": "cake"}, "/kind", "'sweep' or 'recipe'"),
        ({"kind": ["recipe"]}, "/kind", "'sweep' or 'recipe'"),
        ({"kind": None}, "/kind", "'sweep' or 'recipe'"),
        ({"space": {}}, "/space", "not permitted"),
        ({"seeds": []}, "/seeds", "at least 1"),
        ({"seeds": [1, 2, 1]}, "/seeds/2", "twice"),
        ({"schedules": [3]}, "/schedules/0", "dictionary"),
        (
            {"schedules": [*BOTH, {"policy": "triangular", "step_size": 0}]},
            "/schedules/2/step_size",
            "",
        ),
        ({"schedules": [{"policy": "sgdr", "cycle": 1}]}, "/schedules/0/cycle", "not permitted"),
        ({"find": {"name": "guess"}}, "/find", ""),
        ({"find": {"name": "range_test", "range": {"end": 1e-8}}}, "/find/range/end", "start"),
        ({"find": {**SEARCH, "high": 1e-6}}, "/find/high", "low"),
        (
            {
                "find": {"name": "range_test", "checks": ["curvature"]},
                "template": {**TEMPLATE, "clipping": {"norm": 1.0}},
            },
            "/find/checks",
            "clipping",
        ),
        ({"budget": {"jobs": 3}}, "/budget/jobs", ""),
        ({"template": {**TEMPLATE, "model": {"name": "x"}}}, "/template/model/name", "known"),
        (
            {
                "template": {**TEMPLATE, "optimizer": {"name": "prodigy"}},
                "schedules": [{"policy": "one_cycle"}],
            },
            "/schedules/0/max_momentum",
            "null",
        ),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, changes: dict[str, Any], pointer: str, detail: str
) -> None:
    for path in ("/v1/sweeps", "/v1/sweeps/preview"):
        answer = client.post(path, json=recipe_json(**changes))
        assert answer.status_code == 422, answer.text
        errors = answer.json()["errors"]
        assert any(each["pointer"] == pointer for each in errors), errors
        assert any(detail in each["detail"] for each in errors), errors
    assert client.get("/v1/sweeps").json()["data"] == []


def test_a_schedule_that_names_another_range_test(
    client: TestClient, sessions: Sessions, run: Run
) -> None:
    rate = {"range_test": "job_gone"}
    schedules = [{"policy": "triangular", "max_lr": rate}, {"policy": "constant"}]
    refused = client.post("/v1/sweeps", json=recipe_json(schedules=schedules))
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/schedules/0/max_lr/range_test"
    assert error["detail"] == "there is no job job_gone"
    rate["range_test"] = client.post("/v1/jobs", json=range_test_json()).json()["id"]
    lease = claim(sessions)
    assert lease
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {**OK, "suggestion": {**RATES, "max_lr": 0.3}})
    sweep = submitted(client, schedules=schedules)
    assert run() == 5
    peaks = [row["parameters"].get("/schedule/max_lr") for row in rows(client, sweep)]
    assert peaks.count(rate) == 2


def test_a_sweep_needs_no_kind_and_a_stray_field_of_that_name_is_named(client: TestClient) -> None:
    body = {"template": training_json(), "space": {SEED: [1]}}
    assert client.post("/v1/sweeps/preview", json=body).json()["steps"] is None
    answer = client.post("/v1/sweeps/preview", json={**body, "sweep": {"template": 1}})
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/sweep"]
