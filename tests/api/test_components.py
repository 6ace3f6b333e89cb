"""What workers offer beyond the built-in components: listed, checked, and routed to them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.sweeper import Sweeper
from spec.catalogue import Offered
from spec.needs import Offer
from store import claims, components, workers
from store.database import Sessions
from store.instants import from_now
from store.tables import workers as table
from tests.api.conftest import NotedBroker
from tests.factories import LEASE, claimed, training_json

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "width": {"type": "integer", "minimum": 1, "default": 4},
        "sizes": {"type": "array", "items": {"type": "number"}, "default": []},
        "rate": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "folder": {"type": "string"},
    },
    "required": ["folder"],
}
GOOD = {"folder": "mine"}


def net(**changes: Any) -> Offered:
    values = {"kind": "model", "name": "net", "package": "lab", "version": "1.0"}
    return Offered.model_validate(
        {**values, "description": "A net.", "parameters": SCHEMA, **changes}
    )


Reported = Callable[..., None]


@pytest.fixture
def reported(sessions: Sessions) -> Reported:
    """A worker says that it is there, with what it offers."""

    def reported(name: str, *offered: Offered, left_out: tuple[str, ...] = ()) -> None:
        with sessions.begin() as tx:
            components.publish(tx, offered)
            workers.report(
                tx,
                name=name,
                device="cpu",
                state="idle",
                job_id=None,
                queues=["default"],
                versions={},
                offer=Offer(components=tuple(each.requirement for each in offered)),
                left_out=left_out,
                started_at=datetime.now(UTC),
            )

    return reported


def lose(sessions: Sessions, name: str) -> None:
    with sessions.begin() as tx:
        long_ago = from_now(timedelta(minutes=-5))
        tx.execute(update(table).where(table.c.name == name).values(seen_at=long_ago))


def job(name: str = "net", params: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    params = GOOD if params is None else params
    return training_json(model={"name": name, "params": params}, **changes)


def refused(client: TestClient, body: dict[str, Any], path: str = "/v1/jobs") -> dict[str, str]:
    answer = client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    return {each["pointer"]: each["detail"] for each in answer.json()["errors"]}


def models(client: TestClient) -> list[tuple[str, str, str, int]]:
    found = client.get("/v1/models").json()["data"]
    return [
        (each["name"], each["package"], each["version"], each["workers"])
        for each in found
        if each["package"]
    ]


def test_the_catalogue_is_what_live_workers_offer(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    assert models(client) == []
    reported("a", net(), net(kind="loss", name="focal"))
    reported("b", net())
    assert models(client) == [("net", "lab", "1.0", 2)]
    losses = client.get("/v1/losses").json()["data"]
    assert [each["name"] for each in losses] == ["cross_entropy", "mse", "focal"]
    entry = client.get("/v1/models").json()["data"][-1]
    assert (entry["description"], entry["parameters"]) == ("A net.", SCHEMA)
    lose(sessions, "a")
    assert models(client) == [("net", "lab", "1.0", 1)]
    lose(sessions, "b")
    assert models(client) == []


def test_an_upgrade_takes_the_place_of_what_was(client: TestClient, reported: Reported) -> None:
    reported("a", net())
    reported("a", net(version="1.1"))
    assert models(client) == [("net", "lab", "1.1", 1)]
    reported("a", net(version="2.0", parameters={"type": "object"}))
    assert models(client) == [("net", "lab", "2.0", 1)]


def test_a_job_goes_to_those_who_offer_it(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    reported("a", net())
    answer = client.post("/v1/jobs", json=job())
    assert answer.status_code == 201, answer.text
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="plain", queues=["default"], lease=LEASE) is None
        offer = Offer(components=(net().requirement,))
        found = claims.claim(tx, worker="a", queues=["default"], lease=LEASE, offer=offer)
    assert found is not None
    assert found[0].id == answer.json()["id"]
    client.post("/v1/jobs", json=training_json())
    claimed(sessions)  # what needs nothing is anybody's


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"/model/params/folder": "is missing"}),
        ({**GOOD, "width": 0}, {"/model/params/width": "0 is less than the minimum of 1"}),
        ({**GOOD, "width": 2.0}, {"/model/params/width": "2.0 is not of type 'integer'"}),
        ({**GOOD, "width": True}, {"/model/params/width": "True is not of type 'integer'"}),
        ({**GOOD, "sizes": [1, "2"]}, {"/model/params/sizes/1": "'2' is not of type 'number'"}),
        (
            {**GOOD, "rate": "x"},
            {"/model/params/rate": "'x' is not of type 'number' or 'x' is not of type 'null'"},
        ),
        (
            {**GOOD, "a/b": 1},
            {"/model/params/a~1b": "is not known; known: width, sizes, rate, folder"},
        ),
    ],
)
def test_the_field_that_is_wrong_is_named(
    client: TestClient, reported: Reported, params: dict[str, Any], expected: dict[str, str]
) -> None:
    reported("a", net())
    assert refused(client, job(params=params)) == expected


def test_every_field_may_name_one(client: TestClient, reported: Reported) -> None:
    kinds = ("model", "data", "optimizer", "loss", "metric")
    reported("a", *(net(kind=each) for each in kinds))
    component = {"name": "net", "params": GOOD}
    body = training_json(
        model=component,
        data=component,
        optimizer=component,
        criterion=component,
        metrics=[{"name": "top_k"}, component],
    )
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["criterion"] == component
    body["criterion"] = {"name": "net"}
    body["metrics"][1] = {"name": "net", "params": {"folder": 1}}
    assert refused(client, body).keys() == {"/criterion/params/folder", "/metrics/1/params/folder"}
    assert refused(client, {**body, "criterion": {"name": "nyet"}})["/criterion/name"] == (
        "unknown: 'nyet'; known: cross_entropy, mse, net"
    )


def test_a_metric_has_a_column_of_its_own(client: TestClient, reported: Reported) -> None:
    reported("a", net(kind="metric", name="accuracy"))
    body = training_json(metrics=[{"name": "top_k"}, {"name": "top_k"}])
    assert refused(client, body) == {
        "/metrics/1/name": "top_k is there twice: leave one of them out"
    }
    body = training_json(metrics=[{"name": "accuracy", "params": GOOD}])
    assert refused(client, body) == {
        "/metrics/0/name": "accuracy is measured of every job: leave it out"
    }


def test_a_job_that_names_neither_is_stored_as_it_always_was(client: TestClient) -> None:
    spec = client.post("/v1/jobs", json=training_json()).json()["spec"]
    assert not {"criterion", "metrics"} & spec.keys()


def test_who_had_it_and_who_leaves_it_out_is_said(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    assert refused(client, job("nyet")) == {
        "/model/name": "unknown: 'nyet'; known: lenet, mlp, resnet"
    }
    reported("a", net())
    lose(sessions, "a")
    said = refused(client, job())["/model/name"]
    assert said.endswith("; workers that are lost offered it, with lab 1.0")
    why = "model timm of stepsize: timm is not installed: pip install 'stepsize[timm]'"
    reported("b", left_out=(why,))
    assert refused(client, job("timm"))["/model/name"].endswith(f"; b leaves out {why}")
    assert client.get("/v1/workers").json()["data"][-1]["left_out"] == [why]


def test_of_two_packages_a_job_says_which(client: TestClient, reported: Reported) -> None:
    reported("a", net())
    reported("b", net(package="shop"))
    said = refused(client, job())["/model/name"]
    assert said == "several packages offer it: say which, of lab.net, shop.net"
    assert client.post("/v1/jobs", json=job("shop.net")).status_code == 201


def test_the_built_in_one_wins(client: TestClient, sessions: Sessions, reported: Reported) -> None:
    reported("a", net(name="mlp"))
    assert client.post("/v1/jobs", json=training_json()).status_code == 201
    claimed(sessions)
    assert client.post("/v1/jobs", json=job("lab.mlp")).status_code == 201
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="plain", queues=["default"], lease=LEASE) is None


def test_while_workers_are_upgraded_either_schema_will_do(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "depth": {"type": "integer"}}}
    new = net(version="2.0", parameters=wider)
    reported("old", net())
    reported("new", new)
    assert client.post("/v1/jobs", json=job(params={**GOOD, "depth": 2})).status_code == 201
    with sessions.begin() as tx:
        offer = Offer(components=(new.requirement,))
        assert claims.claim(tx, worker="n", queues=["default"], lease=LEASE, offer=offer)


def test_batches_sweeps_and_recipes_are_checked_and_routed(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    reported("a", net())
    wrong = job(params={})
    assert refused(client, {"jobs": [job(), wrong]}, "/v1/jobs:batch") == {
        "/jobs/1/model/params/folder": "is missing"
    }
    assert client.post("/v1/jobs:batch", json={"jobs": [job()]}).status_code == 201
    sweep = {"template": job(), "space": {"/model/params/width": [1, 2]}}
    assert client.post("/v1/sweeps/preview", json=sweep).json()["jobs"] == 2
    assert client.post("/v1/sweeps", json=sweep).status_code == 201
    sweep["space"] = {"/model/params/width": [1, 0]}
    (pointer,) = refused(client, sweep, "/v1/sweeps")
    assert pointer == "/space/~1model~1params~1width"
    template = job()
    del template["schedule"]
    recipe = {"kind": "recipe", "template": template, "schedules": [{"policy": "one_cycle"}]}
    assert client.post("/v1/sweeps", json=recipe).status_code == 201
    recipe["template"] = {**template, "model": {"name": "net"}}
    assert refused(client, recipe, "/v1/sweeps") == {"/template/model/params/folder": "is missing"}
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="plain", queues=["default"], lease=LEASE) is None


def test_a_sweep_goes_on_while_its_workers_are_away(
    client: TestClient, sessions: Sessions, broker: NotedBroker, reported: Reported
) -> None:
    reported("a", net())
    sweep = {
        "template": job(),
        "space": {"/optimizer/params/momentum": {"low": 0.1, "high": 0.9}},
        "sampler": {"name": "tpe"},
        "budget": {"jobs": 6, "parallel": 2},
    }
    answer = client.post("/v1/sweeps", json=sweep)
    assert answer.status_code == 201, answer.text
    first = client.get("/v1/jobs").json()["data"][0]["id"]
    client.post(f"/v1/jobs/{first}/cancel")
    lose(sessions, "a")
    Sweeper(sessions, broker).step()
    after = client.get(f"/v1/sweeps/{answer.json()['id']}").json()
    assert after["state"] != "cancelled"
    assert sum(after["counts"].values()) == 3
    assert after["counts"]["queued"] == 2


def test_what_nobody_has_offered_for_long_is_forgotten(
    client: TestClient, sessions: Sessions, reported: Reported
) -> None:
    reported("a", net())
    lose(sessions, "a")
    with sessions.begin() as tx:
        components.forget(tx, unseen_for=timedelta(days=30))
    assert "lab 1.0" in refused(client, job())["/model/name"]
    with sessions.begin() as tx:
        components.forget(tx, unseen_for=timedelta(seconds=-1))
    assert "lab" not in refused(client, job())["/model/name"]


def test_a_schema_is_never_followed_elsewhere(client: TestClient, reported: Reported) -> None:
    reported("a", net(parameters={"properties": {"folder": {"$ref": "http://127.0.0.1:9/x"}}}))
    (detail,) = refused(client, job()).values()
    assert detail.startswith("cannot be checked, for the worker's JSON Schema of them is not right")
