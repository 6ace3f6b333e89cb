"""Two connections at once: each job is taken once, and one of two opposed moves finds no row."""

from datetime import timedelta

from sqlalchemy import select

from spec.states import State
from store import claims, history, jobs, leases, moves, recovery
from store.database import Sessions, WriteTx
from store.leases import Lease
from store.tables import attempts
from tests.factories import (
    LEASE,
    claimed,
    expired,
    queued,
    run_out,
    stored,
)
from tests.store.racing import ROUNDS, at_once, claiming, doing, expiring, put_aside


def verbs(sessions: Sessions, job_id: str) -> list[str]:
    with sessions.read() as tx:
        return [each.verb for each in history.changes(tx, job_id, limit=99)]


def test_a_job_is_claimed_once(sessions: Sessions) -> None:
    def claim() -> str | None:
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
            return found and found[0].id

    for _ in range(ROUNDS):
        one, two = queued(sessions).id, queued(sessions).id
        taken = [job_id for job_id in at_once(claim, claim, claim, claim) if job_id]
        assert sorted(taken) == [one, two]
    with sessions.read() as tx:
        assert len(tx.execute(select(attempts.c.job_id)).all()) == 2 * ROUNDS


def test_an_expiry_and_a_renewal_do_not_both_win(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        run_out(sessions, lease.job_id)

        def renew(lease: Lease = lease) -> bool:
            with sessions.begin() as tx:
                return lease in leases.renew(tx, [lease], extend=LEASE).kept

        renewed, lost = at_once(renew, expiring(sessions))
        job = stored(sessions, lease.job_id)
        assert renewed != lost
        assert job.state == (State.RUNNING if renewed else State.QUEUED)
        assert job.crashes == int(lost)
        put_aside(sessions)


def test_an_expiry_and_an_end_do_not_both_win(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        run_out(sessions, lease.job_id)

        def succeed(tx: WriteTx, lease: Lease = lease) -> None:
            leases.succeed(tx, lease, {})

        ended, lost = at_once(doing(sessions, succeed), expiring(sessions))
        job = stored(sessions, lease.job_id)
        assert ended != lost
        assert job.state == (State.SUCCEEDED if ended else State.QUEUED)
        assert verbs(sessions, job.id) == ["submit", "claim", "succeed" if ended else "expire"]
        put_aside(sessions)


def test_a_cancel_and_a_claim_agree(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        job_id = queued(sessions).id

        def cancel(job_id: str = job_id) -> bool:
            with sessions.begin() as tx:
                return moves.cancel(tx, job_id).state == State.CANCELLED

        taken, cancelled = at_once(claiming(sessions), cancel)
        job = stored(sessions, job_id)
        assert taken != cancelled
        assert job.cancel_requested
        assert job.state == (State.RUNNING if taken else State.CANCELLED)
        put_aside(sessions)


def test_a_pause_and_a_claim_agree(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        job_id = queued(sessions).id

        def pause(job_id: str = job_id) -> bool:
            with sessions.begin() as tx:
                return moves.pause(tx, job_id).state == State.PAUSED

        taken, paused = at_once(claiming(sessions), pause)
        job = stored(sessions, job_id)
        assert taken != paused
        assert job.state == (State.RUNNING if taken else State.PAUSED)
        assert job.pause_requested == taken
        put_aside(sessions)


def test_a_cancel_and_a_success_agree(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)

        def succeed(tx: WriteTx, lease: Lease = lease) -> None:
            leases.succeed(tx, lease, {})

        def cancel(tx: WriteTx, job_id: str = lease.job_id) -> None:
            moves.cancel(tx, job_id)

        ended, asked = at_once(doing(sessions, succeed), doing(sessions, cancel))
        job = stored(sessions, lease.job_id)
        assert ended
        assert (job.state, job.cancel_requested) == (State.SUCCEEDED, asked)
        put_aside(sessions)


def test_a_cancel_outweighs_a_pause_at_the_same_moment(sessions: Sessions) -> None:
    for number in range(ROUNDS):
        job_id = queued(sessions).id
        if number % 2:
            claimed(sessions)

        def cancel(tx: WriteTx, job_id: str = job_id) -> None:
            moves.cancel(tx, job_id)

        def pause(tx: WriteTx, job_id: str = job_id) -> None:
            moves.pause(tx, job_id)

        asked, _ = at_once(doing(sessions, cancel), doing(sessions, pause))
        assert asked
        run_out(sessions, job_id)
        expired(sessions)
        assert stored(sessions, job_id).state == State.CANCELLED
        assert verbs(sessions, job_id).count("cancel") == 1
        put_aside(sessions)


def test_a_job_that_is_resumed_while_its_lease_is_taken_runs_again(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        job_id = queued(sessions).id
        claimed(sessions)
        with sessions.begin() as tx:
            moves.pause(tx, job_id)
        run_out(sessions, job_id)

        def resume(tx: WriteTx, job_id: str = job_id) -> None:
            moves.resume(tx, job_id)

        asked, lost = at_once(doing(sessions, resume), expiring(sessions))
        # a row that is being written to is left for the reconciler's next turn
        assert asked
        assert lost or expiring(sessions)()
        job = stored(sessions, job_id)
        # taken back first, or queued after it had been paused: the client's last word counts
        assert (job.state, job.pause_requested, job.crashes) == (State.QUEUED, False, 1)
        assert sorted(verbs(sessions, job_id)[3:]) == ["expire", "resume"]
        put_aside(sessions)


def test_a_job_is_retried_once(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        job_id = queued(sessions).id
        with sessions.begin() as tx:
            moves.cancel(tx, job_id)

        def retry(tx: WriteTx, job_id: str = job_id) -> None:
            moves.retry(tx, job_id)

        again = doing(sessions, retry)
        assert at_once(again, again, again) == [True] * 3
        assert verbs(sessions, job_id) == ["submit", "cancel", "retry"]
        put_aside(sessions)


def test_one_reconciler_leads(sessions: Sessions) -> None:
    def lead(holder: str, seconds: float) -> bool:
        with sessions.begin() as tx:
            length = timedelta(seconds=seconds)
            return recovery.lead(tx, name="reconciler", holder=holder, lease=length)

    def race() -> str:
        won = at_once(lambda: lead("a", 60), lambda: lead("b", 60))
        assert sum(won) == 1
        return "ab"[won.index(True)]

    for _ in range(ROUNDS):
        leader = race()
        assert race() == leader  # it keeps what it has
        assert lead(leader, -1)  # until it lets it run out


def test_two_reconcilers_that_both_think_they_lead_count_a_crash_once(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        ids = [queued(sessions).id for _ in range(3)]
        for _ in ids:
            claimed(sessions)
        run_out(sessions, *ids)
        found = at_once(lambda: expired(sessions), lambda: expired(sessions))
        # one that skips what the other has locked may find fewer than there are, never more
        assert sorted(job.id for each in found for job in each) == ids
        assert {stored(sessions, job_id).crashes for job_id in ids} == {1}
        put_aside(sessions)


def test_writers_that_read_first_do_not_fail_on_each_other(sessions: Sessions) -> None:
    """On SQLite a transaction that reads and then writes must have said so at its start."""
    ids = [queued(sessions).id for _ in range(4)]

    def work(job_id: str) -> None:
        for _ in range(ROUNDS):
            with sessions.begin() as tx:
                jobs.get(tx, job_id)
                moves.cancel(tx, job_id)
                moves.retry(tx, job_id)

    at_once(*(lambda job_id=job_id: work(job_id) for job_id in ids))
    assert {stored(sessions, job_id).state for job_id in ids} == {State.QUEUED}
