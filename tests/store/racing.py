"""Things that happen at the same moment, each in a thread and a transaction of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from store import claims, jobs
from store.database import Sessions, WriteTx
from store.leases import LeaseLostError
from store.tables import jobs as table
from tests.factories import LEASE, expired

T = TypeVar("T")
ROUNDS = 20


def at_once(*actions: Callable[[], T]) -> list[T]:
    """What the actions return, begun at the same moment in threads of their own."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        barrier.wait(timeout=10)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(timeout=30) for future in [pool.submit(run, a) for a in actions]]


def doing(sessions: Sessions, move: Callable[[WriteTx], object]) -> Callable[[], bool]:
    """A move in a transaction of its own; False where it is refused."""

    def attempt() -> bool:
        try:
            with sessions.begin() as tx:
                move(tx)
        except (LeaseLostError, jobs.WrongStateError):
            return False
        return True

    return attempt


def put_aside(sessions: Sessions) -> None:
    """Takes all jobs out of the way of the next round."""
    with sessions.begin() as tx:
        tx.execute(table.delete())


def claiming(sessions: Sessions, worker: str = "w2") -> Callable[[], bool]:
    def claim() -> bool:
        with sessions.begin() as tx:
            found = claims.claim(tx, worker=worker, queues=["default"], lease=LEASE)
        return found is not None

    return claim


def expiring(sessions: Sessions) -> Callable[[], bool]:
    return lambda: bool(expired(sessions, max_crashes=9))
