"""What clients ask of their jobs: cancel, pause, resume, retry."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from spec.states import Reason
from store import leases
from store.database import Sessions
from tests.api.conftest import NotedBroker
from tests.factories import claimed, queued, training_json

MOVES = ("cancel", "pause", "resume", "retry")


def test_cancel_and_retry(client: TestClient, broker: NotedBroker) -> None:
    url = client.post("/v1/jobs", json=training_json()).headers["Location"]
    for _ in range(2):
        assert client.post(f"{url}/cancel").json()["state"] == "cancelled"
    broker.woken.clear()
    assert client.post(f"{url}/retry").json()["state"] == "queued"
    assert len(broker.woken) == 1


def test_a_running_job_is_asked_to_stop(client: TestClient, sessions: Sessions) -> None:
    job = queued(sessions)
    claimed(sessions)
    answer = client.post(f"/v1/jobs/{job.id}/cancel").json()
    assert (answer["state"], answer["cancel_requested"]) == ("running", True)


def test_a_waiting_job_is_held_until_it_is_resumed(client: TestClient, broker: NotedBroker) -> None:
    url = client.post("/v1/jobs", json=training_json()).headers["Location"]
    broker.woken.clear()
    for _ in range(2):
        answer = client.post(f"{url}/pause").json()
        assert (answer["state"], answer["pause_requested"]) == ("paused", False)
    assert [each["id"] for each in client.get("/v1/jobs?state=paused").json()["data"]] == [
        answer["id"]
    ]
    assert broker.woken == []
    for _ in range(2):
        assert client.post(f"{url}/resume").json()["state"] == "queued"
    assert broker.woken[0] == ("default", answer["id"])


def test_a_running_job_is_asked_to_pause(
    client: TestClient, sessions: Sessions, broker: NotedBroker
) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    url = f"/v1/jobs/{job.id}"
    etag = client.get(url).headers["ETag"]
    for _ in range(2):
        answer = client.post(f"{url}/pause").json()
        assert (answer["state"], answer["pause_requested"]) == ("running", True)
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 200

    taken_back = client.post(f"{url}/resume").json()
    assert (taken_back["state"], taken_back["pause_requested"]) == ("running", False)
    assert broker.woken == []  # its worker has it still

    client.post(f"{url}/pause")
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    shown = client.get(url).json()
    assert (shown["state"], shown["pause_requested"]) == ("paused", False)
    assert shown["attempts"][0]["outcome"] == "paused"


def test_a_paused_job_can_be_cancelled(client: TestClient) -> None:
    url = client.post("/v1/jobs", json=training_json()).headers["Location"]
    client.post(f"{url}/pause")
    assert client.post(f"{url}/cancel").json()["state"] == "cancelled"


def test_a_paused_job_is_resumed_not_retried(client: TestClient) -> None:
    url = client.post("/v1/jobs", json=training_json()).headers["Location"]
    client.post(f"{url}/pause")
    refused = client.post(f"{url}/retry")
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "a job that is paused cannot be retried: resume it, or cancel it first"
    )
    assert client.delete(url).status_code == 409


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ("succeeded", set(MOVES)),
        ("failed", {"cancel", "pause", "resume"}),
        ("cancelled", {"pause", "resume"}),
    ],
)
def test_what_is_finished_is_409(
    client: TestClient, sessions: Sessions, state: str, refused: set[str]
) -> None:
    def ended() -> str:
        job = queued(sessions)
        if state == "cancelled":
            client.post(f"/v1/jobs/{job.id}/cancel")
            return job.id
        lease = claimed(sessions)
        with sessions.begin() as tx:
            if state == "failed":
                leases.fail(tx, lease, Reason.CODE, "it broke")
            else:
                leases.succeed(tx, lease, {})
        return job.id

    answers: dict[str, Any] = {}
    for move in MOVES:
        answers[move] = client.post(f"/v1/jobs/{ended()}/{move}")
        for waiting in client.get("/v1/jobs?state=queued").json()["data"]:
            client.post(f"/v1/jobs/{waiting['id']}/cancel")
    assert {move for move, answer in answers.items() if answer.status_code == 409} == refused
    assert all(state in answers[move].json()["detail"] for move in refused)
