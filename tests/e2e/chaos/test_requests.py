"""What operators and clients do to running jobs, and a database that is away for a while."""

from typing import Any

import pytest

from tests.e2e.chaos.faults import Chaos
from tests.e2e.service import eventually
from tests.factories import training_json

# some seconds of work, so that what happens finds it running
LONG = training_json(
    name="long",
    model={"name": "mlp", "params": {"hidden": [256, 256]}},
    data={"name": "synthetic", "params": {"examples": 4096}},
    batch_size=128,
    length={"iterations": 4000},
)


def series(chaos: Chaos, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = chaos.ask("GET", f"/v1/jobs/{job_id}/series").json()["columns"]
    return found


def job(chaos: Chaos, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = chaos.ask("GET", f"/v1/jobs/{job_id}").json()
    return found


def ended(chaos: Chaos, job_id: str) -> dict[str, Any]:
    return eventually(
        lambda: (found := job(chaos, job_id))["finished_at"] and found,
        within=90,
        what=f"{job_id} to end",
    )


@pytest.fixture
def reference(chaos: Chaos) -> dict[str, Any]:
    """The columns of LONG, run without any fault."""
    found = ended(chaos, chaos.submit(LONG))
    assert (found["state"], found["attempt"]) == ("succeeded", 1)
    return series(chaos, found["id"])


@pytest.mark.lease(30)
@pytest.mark.timeout(240)
def test_an_outage_shorter_than_the_lease_costs_nothing(
    chaos: Chaos, reference: dict[str, Any]
) -> None:
    job_id = chaos.submit(LONG)
    chaos.service.running(job_id)
    chaos.break_database([])
    found = ended(chaos, job_id)
    assert found["state"] == "succeeded", found["error"]
    assert series(chaos, job_id) == reference
    assert [each["outcome"] for each in found["attempts"]] == ["succeeded"]


@pytest.mark.timeout(240)
def test_a_paused_job_frees_its_worker_and_goes_on_from_there(
    chaos: Chaos, reference: dict[str, Any]
) -> None:
    job_id = chaos.submit(LONG)
    chaos.service.running(job_id)
    assert chaos.ask("POST", f"/v1/jobs/{job_id}/pause").json()["pause_requested"] is True
    paused = eventually(
        lambda: (found := job(chaos, job_id))["state"] == "paused" and found, what="a pause"
    )
    assert paused["checkpoint"] == paused["progress"]["iteration"] > 0
    idle = {"idle"}
    eventually(lambda: {each["state"] for each in chaos.service.workers()} == idle, what="idleness")
    assert chaos.ask("POST", f"/v1/jobs/{job_id}/resume").json()["state"] == "queued"
    found = ended(chaos, job_id)
    assert series(chaos, job_id) == reference
    assert [(each["outcome"], each["began"]) for each in found["attempts"]] == [
        ("paused", 0),
        ("succeeded", paused["checkpoint"]),
    ]


@pytest.mark.timeout(240)
def test_workers_that_are_told_to_drain_end_their_jobs_and_take_no_more(chaos: Chaos) -> None:
    running = chaos.submit(LONG)
    chaos.service.running(running)
    names = [each["name"] for each in chaos.service.workers()]
    for name in names:
        assert chaos.ask("POST", f"/v1/workers/{name}/drain").status_code == 200
    eventually(
        lambda: {each["state"] for each in chaos.service.workers()} == {"draining"},
        what="drained workers",
    )
    waiting = chaos.submit(LONG)
    assert ended(chaos, running)["attempt"] == 1
    assert job(chaos, waiting)["state"] == "queued"
    for name in names:
        assert chaos.ask("POST", f"/v1/workers/{name}/undrain").status_code == 200
    assert ended(chaos, waiting)["state"] == "succeeded"
