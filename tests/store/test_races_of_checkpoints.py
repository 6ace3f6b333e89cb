"""Two connections at once, of which one writes a checkpoint or begins with one."""

from collections.abc import Callable

from sqlalchemy import select

from store import checkpoints, jobs, leases, retention
from store.checkpoints import Saved
from store.database import Sessions
from store.jobs import Submission
from store.leases import Lease
from store.tables import chunks
from tests.factories import claimed, expired, queued, record, rows, run_out, saved, spec, stored
from tests.store.racing import ROUNDS, at_once, claiming, expiring, put_aside


def test_a_worker_that_was_lost_writes_nothing_while_another_begins(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        stale = claimed(sessions)
        record(sessions, stale, 5, rows(0, 5), checkpoints=[saved(5)])
        run_out(sessions, stale.job_id)

        def late(stale: Lease = stale) -> bool:
            new = (rows(5, 9, after=5), rows(9, 12, after=9))
            return stale in record(sessions, stale, 12, *new, checkpoints=[saved(9)]).kept

        def taken() -> bool:
            # while the owner writes, its row is locked, and passed over
            return expiring(sessions)() and claiming(sessions)()

        wrote, lost = at_once(late, taken)
        job = stored(sessions, stale.job_id)
        assert wrote != lost
        assert job.attempt == (1 if wrote else 2)
        assert (job.iteration, job.checkpoint) == ((12, 9) if wrote else (5, 5))
        with sessions.read() as tx:
            spans = tx.execute(select(chunks.c.start, chunks.c.stop).order_by(chunks.c.start)).all()
            files = checkpoints.files(tx, [job.id])
        assert spans == ([(0, 5), (5, 9), (9, 12)] if wrote else [(0, 5)])
        assert files == ({"1-5.ckpt", "1-9.ckpt"} if wrote else {"1-5.ckpt"})
        put_aside(sessions)


def test_the_checkpoint_of_the_worker_that_has_the_lease_counts(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        stale = claimed(sessions, worker="w1")
        run_out(sessions, stale.job_id)
        expired(sessions)
        owner = claimed(sessions, worker="w2")

        def save(lease: Lease, iteration: int) -> bool:
            new: list[Saved] = [saved(iteration, attempt=lease.attempt)]
            chunk = rows(0, iteration)
            return lease in record(sessions, lease, iteration, chunk, checkpoints=new).kept

        kept = at_once(
            lambda stale=stale: save(stale, 9),
            lambda owner=owner: save(owner, 5),
            lambda stale=stale: save(stale, 5),
        )
        assert kept == [False, True, False]
        with sessions.read() as tx:
            (found,) = checkpoints.find(tx, owner.job_id)
            written = tx.execute(select(chunks.c.stop, chunks.c.attempt)).all()
        assert (found.iteration, found.file, found.attempt) == (5, "2-5.ckpt", 2)
        assert written == [(5, 2)]
        assert stored(sessions, owner.job_id).checkpoint == 5
        put_aside(sessions)


def beginning(sessions: Sessions, parent: str, iteration: int) -> Callable[[], bool]:
    """Submits a training that goes on from a checkpoint of another; False if there is none."""

    def begin() -> bool:
        try:
            with sessions.begin() as tx:
                origin = checkpoints.get(tx, parent, iteration)
                jobs.add(tx, Submission(spec(), origin=origin))
        except checkpoints.CheckpointNotFoundError:
            return False
        return True

    return begin


def test_a_checkpoint_that_a_training_was_just_submitted_with_is_kept(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        record(sessions, lease, 2, checkpoints=[saved(1), saved(2)])

        def supersede(lease: Lease = lease) -> bool:
            return record(sessions, lease, 3, checkpoints=[saved(3)]).superseded == ["1-1.ckpt"]

        begun, gone = at_once(beginning(sessions, lease.job_id, 1), supersede)
        assert begun != gone
        put_aside(sessions)


def test_a_job_that_a_training_was_just_submitted_from_is_not_deleted(sessions: Sessions) -> None:
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        record(sessions, lease, 2, checkpoints=[saved(2)])
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {})

        def remove(job_id: str = lease.job_id) -> bool:
            try:
                with sessions.begin() as tx:
                    jobs.remove(tx, job_id)
            except jobs.NeededError:
                return False
            return True

        begun, gone = at_once(beginning(sessions, lease.job_id, 2), remove)
        assert begun != gone
        put_aside(sessions)


def test_a_rule_of_retention_and_who_begins_there_agree(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        rule = retention.add(tx, "default", what="checkpoints", after_days=0)
    for _ in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        record(sessions, lease, 5, rows(0, 5), checkpoints=[saved(5)])
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {})
        with sessions.read() as tx:
            origin = checkpoints.get(tx, lease.job_id)

        def begin(origin: checkpoints.Checkpoint = origin) -> bool:
            try:
                with sessions.begin() as tx:
                    jobs.add(tx, Submission(spec(), origin=origin))
            except checkpoints.CheckpointNotFoundError:
                return False
            return True

        def sweep(job_id: str = lease.job_id) -> bool:
            with sessions.begin() as tx:
                return bool(retention.apply(tx, rule, job_id))

        begun, swept = at_once(begin, sweep)
        assert begun != swept
        with sessions.read() as tx:
            assert bool(checkpoints.find(tx, lease.job_id)) == begun
        put_aside(sessions)
