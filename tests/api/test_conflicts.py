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
