"""A claim whose answer was lost is given back by the worker that never heard of it."""

from spec.states import State
from store import claims, history, leases
from store.database import Sessions
from tests.factories import claimed, queued, stored


def test_a_worker_hands_back_what_it_does_not_run(sessions: Sessions) -> None:
    ours, theirs = queued(sessions), queued(sessions)
    claimed(sessions, worker="w1")
    claimed(sessions, worker="w2")
    with sessions.begin() as tx:
        claims.unclaim(tx, "w1")
    first, second = stored(sessions, ours.id), stored(sessions, theirs.id)
    assert (first.state, first.crashes, second.state) == (State.QUEUED, 0, State.RUNNING)
    with sessions.read() as tx:
        (attempt,) = history.attempts_of(tx, ours.id, limit=9)
    assert (attempt.outcome, attempt.iterations) == ("handed_back", 0)


def test_history_is_bounded(sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    for _ in range(history.KEPT + 20):
        with sessions.begin() as tx:
            leases.remark(tx, lease, "remark", "again")
    with sessions.read() as tx:
        kept = history.changes(tx, job.id, limit=10_000)
    assert len(kept) == history.KEPT
    assert kept[-1].verb == "remark"
