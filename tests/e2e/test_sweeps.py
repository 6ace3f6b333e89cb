"""Sweeps run by real workers, who die on the way, and led on by APIs that do."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import Service, eventually
from tests.factories import training_json

PEAK = "/schedule/max_lr"
QUICK = training_json(length={"iterations": 300})
LONGER = training_json(
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    data={"name": "synthetic", "params": {"examples": 4096}},
    length={"iterations": 600},
)
OPEN = ("queued", "running", "paused")


@pytest.fixture(autouse=True)
def _nobody_left(service: Service) -> Iterator[None]:
    yield
    for process in service.processes:
        if process.poll() is None and "worker" in map(str, process.args):
            process.kill()
            process.wait()


def submitted(service: Service, **spec: Any) -> dict[str, Any]:
    answer = service.http.post("/v1/sweeps", json=spec)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def look(service: Service, sweep: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = service.http.get(f"/v1/sweeps/{sweep['id']}").json()
    return found


def results(service: Service, sweep: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.http.get(f"/v1/sweeps/{sweep['id']}/results").json()[
        "data"
    ]
    return found


def test_tpe_finds_a_rate_that_learns(service: Service) -> None:
    service.start_worker()
    sweep = submitted(
        service,
        template=QUICK,
        space={PEAK: {"low": 0.01, "high": 10, "log": True}},
        sampler={"name": "tpe", "startup": 5},
        objective={"metric": "val_accuracy", "direction": "maximize"},
        budget={"jobs": 12, "parallel": 2},
    )
    done = eventually(
        lambda: (now := look(service, sweep))["finished_at"] and now, within=90, what="the end"
    )
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 12)
    rows = results(service, sweep)
    assert len({row["parameters"][PEAK] for row in rows}) == 12
    values = [row["value"] for row in rows if row["value"] is not None]
    assert done["best"]["value"] == max(values) > 0.85


def test_whatever_dies_each_configuration_runs_once(service: Service) -> None:
    node = service.start_worker()
    sweep = submitted(
        service,
        template=LONGER,
        space={PEAK: [0.01, 0.02, 0.03, 0.04], "/seed": [0, 1, 2]},
        budget={"parallel": 3},
    )
    most = 0

    def ended() -> int:
        nonlocal most
        counts = look(service, sweep)["counts"]
        most = max(most, counts["running"])
        return sum(count for state, count in counts.items() if state not in OPEN)

    eventually(lambda: ended() >= 2, within=60, what="two to end")
    node.kill()
    node.wait()
    api = next(p for p in service.processes if "api" in map(str, p.args) and p.poll() is None)
    api.kill()
    api.wait()
    service.start_api()
    service.start_worker()
    eventually(lambda: ended() >= 7, within=90, what="seven to end")
    service.child_of(next(p for p in service.processes[::-1] if p.poll() is None)).kill()
    eventually(lambda: look(service, sweep)["finished_at"], within=120, what="the end")
    done = look(service, sweep)
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 12)
    assert most <= 3
    rows = results(service, sweep)
    assert len({(row["parameters"][PEAK], row["parameters"]["/seed"]) for row in rows}) == 12
    for row in rows:
        job = service.job(row["job"])
        assert sum(each["outcome"] == "succeeded" for each in job["attempts"]) == 1
        assert service.series(row["job"])["total_points"] == job["result"]["iterations"]


CYCLICAL = training_json(
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    schedule={"policy": "triangular", "base_lr": 1e-5, "step_size": 20},
    length={"cycles": 15},
    population=False,  # to the bit
)
RATES = [0.01, 0.003, 0.1, 0.0003, 0.03, 0.001, 0.0001, 0.0005, 0.05]


def test_whatever_dies_those_that_fall_behind_are_stopped_and_can_go_on(service: Service) -> None:
    node = service.start_worker()
    whole = submitted(service, template=CYCLICAL, space={PEAK: RATES})
    eventually(lambda: look(service, whole)["finished_at"], within=60, what="the end")
    reference = {row["parameters"][PEAK]: row for row in results(service, whole)}

    sweep = submitted(
        service,
        template=CYCLICAL,
        space={PEAK: RATES},
        stopping={"name": "asha"},
        budget={"parallel": 2},
    )
    for ended in (2, 4):
        eventually(
            lambda ended=ended: (  # type: ignore[misc]
                (counts := look(service, sweep)["counts"])["succeeded"] >= ended
                and counts["running"]
            ),
            within=60,
            what="some to end while one runs",
        )
        service.child_of(node).kill()
    done = eventually(
        lambda: (now := look(service, sweep))["finished_at"] and now, within=90, what="the end"
    )
    assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", len(RATES))
    rows = results(service, sweep)
    assert [row["parameters"][PEAK] for row in rows] == RATES
    stopped = [row for row in rows if row["stopped"]]
    assert 3 <= len(stopped) < len(rows)

    best = min(reference.values(), key=lambda row: row["value"])["parameters"][PEAK]
    assert best not in {row["parameters"][PEAK] for row in stopped}
    assert done["best"]["parameters"][PEAK] == best
    for row in rows:
        job = service.job(row["job"])
        said = job["result"].get("stopped")
        assert (said or {"why": None})["why"] == row["stopped"]
        length = said["iteration"] if said else 600
        assert length in {40, 120, 360, 600}
        ours, theirs = (
            service.series(each)["columns"]
            for each in (row["job"], reference[row["parameters"][PEAK]]["job"])
        )
        assert ours["iteration"] == list(range(length))
        assert ours["loss"] == theirs["loss"][:length]
        assert sum(each["verb"] == "stopped" for each in job["history"]) == bool(said)

    job = service.job(stopped[-1]["job"])
    at = job["result"]["stopped"]["iteration"]
    again = service.finished(service.submit({**job["spec"], "from": {"job": job["id"]}}))
    assert (again["state"], again["result"]["iterations"]) == ("succeeded", 600)
    assert "stopped" not in again["result"]
    rest = service.series(again["id"])["columns"]
    theirs = service.series(reference[stopped[-1]["parameters"][PEAK]]["job"])["columns"]
    assert rest["iteration"] == list(range(at, 600))
    assert rest["loss"] == theirs["loss"][at:]


def test_one_that_diverges_ends_at_once(service: Service) -> None:
    service.start_worker()
    sweep = submitted(
        service,
        template=CYCLICAL,
        space={"/optimizer/params/weight_decay": [0.0, 1e6], PEAK: [0.1]},
        stopping={"name": "asha"},
    )
    eventually(lambda: look(service, sweep)["finished_at"], within=60, what="the end")
    fine, gone = (service.job(row["job"])["result"] for row in results(service, sweep))
    assert fine["iterations"] == 600
    assert gone["iterations"] == gone["diverged_at"] + 10 < 100


def test_a_recipe_goes_on_whatever_dies(service: Service) -> None:
    node = service.start_worker()
    sweep = submitted(
        service,
        kind="recipe",
        template={
            **{name: each for name, each in LONGER.items() if name != "schedule"},
            "data": {"name": "digits"},
        },
        schedules=[{"policy": "cosine"}, {"policy": "triangular2"}],
        seeds=[0, 1],
        objective={"metric": "val_accuracy", "direction": "maximize"},
        budget={"parallel": 2},
    )

    def counts() -> dict[str, int]:
        found: dict[str, int] = look(service, sweep)["counts"]
        return found

    eventually(lambda: counts()["running"], within=60, what="the range test to begin")
    node.kill()
    node.wait()
    api = next(p for p in service.processes if "api" in map(str, p.args) and p.poll() is None)
    api.kill()
    api.wait()
    service.start_api()
    node = service.start_worker()
    eventually(lambda: counts()["succeeded"] >= 2, within=90, what="the first training")
    service.child_of(node).kill()
    eventually(lambda: look(service, sweep)["finished_at"], within=120, what="the end")
    done = look(service, sweep)
    assert (done["state"], done["counts"]["succeeded"], done["promised"]) == ("succeeded", 5, 5)
    test, *compared = results(service, sweep)
    suggestion = service.job(test["job"])["result"]["suggestion"]
    ran = [tuple(map(row["parameters"].get, ("/schedule/policy", "/seed"))) for row in compared]
    assert ran == [
        ("cosine", 0), ("triangular2", 0), ("cosine", 1), ("triangular2", 1)
    ]  # fmt: skip
    for row in compared:
        job = service.job(row["job"])
        rate = "lr" if job["spec"]["schedule"]["policy"] == "cosine" else "max_lr"
        assert job["spec"]["schedule"][rate] == suggestion["fixed_lr" if rate == "lr" else rate]
        assert sum(each["outcome"] == "succeeded" for each in job["attempts"]) == 1
        assert service.series(row["job"])["total_points"] == job["result"]["iterations"] == 600
        assert row["value"] is not None
    assert done["best"]["value"] == max(row["value"] for row in compared)
