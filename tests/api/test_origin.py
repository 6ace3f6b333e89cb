"""Trainings that go on from a checkpoint of another."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from store import leases
from store.database import Sessions
from store.leases import Lease
from tests.api.conftest import Checkpointed
from tests.factories import claimed, queued, range_test_json, training_json


def errors(client: TestClient, **changes: Any) -> dict[str, str]:
    answer = client.post("/v1/jobs", json=training_json(**changes))
    assert answer.status_code == 422, answer.text
    return {each["pointer"]: each["detail"] for each in answer.json()["errors"]}


@pytest.fixture
def parent(sessions: Sessions, checkpointed: Checkpointed) -> Lease:
    """A running training with two checkpoints."""
    queued(sessions)
    lease = claimed(sessions)
    for iteration in (60, 100):
        checkpointed(lease, iteration)
    return lease


@pytest.mark.parametrize(("asked", "given"), [(None, 100), (100, 100), (60, 60)])
def test_it_begins_with_the_checkpoint_asked_for_or_the_last(
    client: TestClient, parent: Lease, asked: int | None, given: int
) -> None:
    origin = {"job": parent.job_id} | ({"iteration": asked} if asked else {})
    body = training_json(
        **{"from": origin},
        length={"iterations": 200},
        schedule={"policy": "constant", "lr": 0.01},
        optimizer={"name": "sgd", "params": {"momentum": 0.5}},
    )
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 201
    job = answer.json()
    assert job["parent"] == {"job": parent.job_id, "iteration": given}
    assert job["spec"]["from"] == {"job": parent.job_id, "iteration": asked}
    assert client.get(f"/v1/jobs/{parent.job_id}").json()["parent"] is None
    # what it shows can be submitted again
    assert client.post("/v1/jobs", json=job["spec"]).json()["spec"] == job["spec"]


@pytest.mark.parametrize("state", ["running", "paused", "cancelled", "succeeded"])
def test_the_parent_may_be_in_any_state(
    client: TestClient, sessions: Sessions, parent: Lease, state: str
) -> None:
    if state == "succeeded":
        with sessions.begin() as tx:
            leases.succeed(tx, parent, {})
    elif state != "running":
        client.post(f"/v1/jobs/{parent.job_id}/{'pause' if state == 'paused' else 'cancel'}")
        with sessions.begin() as tx:
            leases.hand_back(tx, parent)
    assert client.get(f"/v1/jobs/{parent.job_id}").json()["state"] == state
    body = training_json(**{"from": {"job": parent.job_id}}, length={"iterations": 200})
    assert client.post("/v1/jobs", json=body).status_code == 201


def test_a_parent_that_is_none(client: TestClient, sessions: Sessions) -> None:
    def refused(job_id: str) -> str:
        (detail,) = errors(client, **{"from": {"job": job_id}}).values()
        return detail

    assert refused("job_0") == "there is no job job_0"
    ramp = client.post("/v1/jobs", json=range_test_json()).json()["id"]
    assert refused(ramp) == f"{ramp} is a range_test, not a training"
    waiting = queued(sessions)
    assert refused(waiting.id) == f"{waiting.id} has no checkpoint to go on from"


def test_a_checkpoint_that_is_not_there(client: TestClient, parent: Lease) -> None:
    found = errors(client, **{"from": {"job": parent.job_id, "iteration": 70}})
    assert found.keys() == {"/from/iteration"}
    assert found["/from/iteration"].endswith("it has some at 60, 100")


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"model": {"name": "mlp", "params": {"hidden": [17]}}}, "/model", '"hidden": [16]'),
        ({"model": {"name": "lenet"}}, "/model", '"name": "mlp"'),
        ({"data": {"name": "synthetic"}}, "/data", '"name": "digits"'),
        ({"batch_size": 64}, "/batch_size", "32"),
        ({"seed": 1}, "/seed", "0"),
        ({"optimizer": {"name": "adam"}}, "/optimizer/name", '"sgd"'),
        ({"lr_groups": {"layer_decay": 2.0}}, "/lr_groups", "null"),
    ],
)
def test_parts_that_must_be_as_they_were(
    client: TestClient, parent: Lease, change: dict[str, Any], pointer: str, said: str
) -> None:
    origin = {"from": {"job": parent.job_id}}
    found = errors(client, **origin, **change, length={"iterations": 200})
    assert found.keys() == {pointer}
    assert found[pointer].startswith(f"must be that of {parent.job_id}, ")
    assert said in found[pointer]


def test_defaults_that_are_spelled_out_are_no_difference(client: TestClient, parent: Lease) -> None:
    model = {"name": "mlp", "params": {"hidden": [16], "activation": "relu"}}
    body = training_json(
        **{"from": {"job": parent.job_id}}, model=model, length={"iterations": 200}
    )
    assert client.post("/v1/jobs", json=body).status_code == 201


def test_all_that_is_wrong_at_once(client: TestClient, parent: Lease) -> None:
    found = errors(client, **{"from": {"job": parent.job_id}}, batch_size=64, seed=3)
    assert found.keys() == {"/batch_size", "/seed", "/length"}


@pytest.mark.parametrize(
    ("length", "accepted"),
    [
        ({"iterations": 100}, False),
        ({"iterations": 101}, True),
        ({"cycles": 2}, False),  # of twice 20 iterations
        ({"cycles": 3}, True),
        ({"epochs": 0.5}, True),  # how many iterations those are only a worker knows
    ],
)
def test_it_must_be_longer_than_what_it_goes_on_from(
    client: TestClient, parent: Lease, length: dict[str, Any], *, accepted: bool
) -> None:
    changes = {"from": {"job": parent.job_id}, "length": length}
    if accepted:
        assert client.post("/v1/jobs", json=training_json(**changes)).status_code == 201
    else:
        found = errors(client, **changes)
        assert found.keys() == {"/length"}
        assert "more than 100 iterations" in found["/length"]


def test_the_range_test_of_an_automatic_parent_is_no_part_of_the_length(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    parent = queued(sessions, schedule={"policy": "auto"}).id
    checkpointed(claimed(sessions), 600)
    body = training_json(**{"from": {"job": parent}}, length={"iterations": 400})
    assert client.post("/v1/jobs", json=body).status_code == 201


def test_a_parent_that_is_needed_is_not_deleted(
    client: TestClient, sessions: Sessions, parent: Lease
) -> None:
    with sessions.begin() as tx:
        leases.succeed(tx, parent, {})
    body = training_json(**{"from": {"job": parent.job_id}}, length={"iterations": 200})
    child = client.post("/v1/jobs", json=body).json()["id"]
    refused = client.delete(f"/v1/jobs/{parent.job_id}")
    assert refused.status_code == 409
    assert child in refused.json()["detail"]
    client.post(f"/v1/jobs/{child}/cancel")
    assert client.delete(f"/v1/jobs/{parent.job_id}").status_code == 204
