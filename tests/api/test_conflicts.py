"""Parts of a job that do not go together are refused when it is submitted."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.factories import range_test_json, training_json

HYPERGRADIENT = {"policy": "hypergradient"}
PLATEAU = {"policy": "plateau", "lr": 0.1}
ONE_CYCLE = {"policy": "one_cycle", "max_lr": 0.1}
EVERY = {"every": {"iterations": 10}}
PRODIGY = {"name": "prodigy"}
DECAY = {"layer_decay": 2.6}
FREEZE = {"multipliers": {"1.*": 0}}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"schedule": HYPERGRADIENT, "optimizer": {"name": "rmsprop"}}, "/optimizer/name"),
        ({"schedule": HYPERGRADIENT, "optimizer": PRODIGY}, "/optimizer/name"),
        ({"schedule": PLATEAU}, "/evaluate"),
        ({"schedule": ONE_CYCLE, "optimizer": PRODIGY}, "/schedule/max_momentum"),
        (
            {"schedule": {"policy": "auto"}, "optimizer": {"name": "adamw_schedulefree"}},
            "/schedule/schedule/max_momentum",
        ),
        ({"schedule": {"policy": "auto"}, "from": {"job": "job_1"}}, "/from"),
        ({"lr_groups": DECAY, "optimizer": PRODIGY}, "/lr_groups"),
    ],
)
def test_the_answer_points_at_what_should_change(
    client: TestClient, changes: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/v1/jobs", json=training_json(**changes))
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": HYPERGRADIENT, "optimizer": {"name": "adamw"}},
        {"schedule": PLATEAU, "evaluate": EVERY},
        {"schedule": PLATEAU | {"metric": "train_loss"}},
        {
            "schedule": ONE_CYCLE | {"base_momentum": None, "max_momentum": None},
            "optimizer": PRODIGY,
        },
        {"lr_groups": FREEZE, "optimizer": PRODIGY},
        {"lr_groups": DECAY},
    ],
)
def test_what_goes_together_is_taken(client: TestClient, changes: dict[str, Any]) -> None:
    assert client.post("/v1/jobs", json=training_json(**changes)).status_code == 201


def test_a_range_test_has_its_own(client: TestClient) -> None:
    body = range_test_json(lr_groups=DECAY, optimizer=PRODIGY)
    assert client.post("/v1/jobs", json=body).json()["errors"][0]["pointer"] == "/lr_groups"


TWO: dict[str, Any] = {"processes": 2}


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        (training_json(**TWO, batch_size=31), "/batch_size"),
        (training_json(needs={"gpus": 3}, batch_size=32), "/batch_size"),
        (training_json(**TWO, batch_size=6, accumulation=2), "/batch_size"),
        (training_json(**TWO, needs={"gpus": 4}), "/processes"),
        (training_json(**TWO, population=True), "/population"),
        (training_json(**TWO, compile=True), "/compile"),
        (training_json(**TWO, record=["probe_loss"]), "/record"),
        (training_json(**TWO, schedule=HYPERGRADIENT), "/schedule"),
        (training_json(**TWO, snapshots={"curvature": True}), "/snapshots/curvature"),
        (range_test_json(**TWO, checks=["curvature"]), "/checks"),
        (range_test_json(**TWO, loss="probe"), "/loss"),
        (range_test_json(needs={"gpus": 2}, loss="probe"), "/loss"),
    ],
)
def test_what_several_processes_cannot_share_is_refused(
    client: TestClient, spec: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "changes",
    [
        TWO | {"accumulation": 2},
        TWO | {"needs": {"gpus": 2}},
        {"needs": {"gpus": 2}, "snapshots": "cycle_end", "record": ["grad_norm"]},
        {"processes": 1, "needs": {"gpus": 1}, "population": True},
    ],
)
def test_what_they_can_share_is_taken(client: TestClient, changes: dict[str, Any]) -> None:
    assert client.post("/v1/jobs", json=training_json(**changes)).status_code == 201
