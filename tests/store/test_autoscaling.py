"""The query that the autoscaler counts workers by, on a real PostgreSQL."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from store import claims, leases
from store.database import Sessions
from tests.factories import queued
from tests.kubernetes import FOLDER, documents


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("folder", "queue"), [("autoscaler", "default"), ("autoscaler-gpu", "gpu")]
)
def test_workers_are_wanted_for_what_waits_and_what_runs(
    sessions: Sessions, folder: str, queue: str
) -> None:
    (scaled,) = documents(FOLDER / "components" / folder / "scaled.yaml")
    (trigger,) = scaled["spec"]["triggers"]

    def wanted() -> int:
        with sessions.read() as tx:
            return int(tx.execute(text(trigger["metadata"]["query"])).scalar_one())

    assert wanted() == 0
    for _ in range(2):
        queued(sessions, queue=queue)
    queued(sessions, queue="another")
    assert wanted() == 2
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w", queues=[queue], lease=timedelta(minutes=1))
    assert found is not None
    assert wanted() == 2  # one waits, one runs
    with sessions.begin() as tx:
        leases.hand_back(tx, found[1], delay=timedelta(hours=1))
    assert wanted() == 1  # one waits for its hour
