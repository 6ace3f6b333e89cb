"""The thread that sends messages to webhooks, some at a time, until each has arrived."""

import logging
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from api.destinations import Networks
from api.posting import Poster
from store import deliveries
from store.database import Sessions, Unavailable, describe
from store.deliveries import Due, Outcome

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks for messages that are due."""

TOGETHER = 16
"""Messages that one process sends at the same time."""

EACH = 4
"""Of these, to one webhook: one that is slow leaves room for the others."""

OWNED = 8
"""Of these, of one owner: however many webhooks are slow, others have theirs."""


class Deliverer:
    """One per API process; each message is taken by one of them."""

    def __init__(
        self, sessions: Sessions, allowed: Networks, *, poster: Poster | None = None
    ) -> None:
        self._sessions = sessions
        self._poster = poster or Poster(allowed)
        self._pool = ThreadPoolExecutor(TOGETHER, thread_name_prefix="webhook")
        self._under_way: Counter[str] = Counter()  # by webhook
        self._owned: Counter[str] = Counter()  # by owner
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends once what is being sent has been."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)
        self._pool.shutdown(cancel_futures=True)

    def wake(self) -> None:
        """Looks at once: there is something to send."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Unavailable as error:
                log.warning("webhooks.failed %s", describe(error))
            except Exception:
                log.exception("webhooks.failed")
            self._wake.wait(EVERY)
            self._wake.clear()

    def step(self) -> None:
        """Begins to send what is due, as far as there is room."""
        while not self._stop.is_set():
            with self._counting:
                under_way, owned = +self._under_way, +self._owned
            room = TOGETHER - under_way.total()
            if room <= 0:
                return
            busy = [each for each, count in under_way.items() if count >= EACH]
            owners = [each for each, count in owned.items() if count >= OWNED]
            with self._sessions.read() as tx:
                found = deliveries.waiting(tx, but=busy, owners=owners)
            if found is None:
                return
            webhook_id, owner = found
            limit = min(room, EACH - under_way[webhook_id], OWNED - owned[owner])
            with self._sessions.begin() as tx:
                taken = deliveries.take(tx, webhook_id, limit=limit)
            if not taken:
                return  # another process was faster
            with self._counting:
                self._under_way[webhook_id] += len(taken)
                self._owned[owner] += len(taken)
            for due in taken:
                self._pool.submit(self._deliver, due, owner)

    def _deliver(self, due: Due, owner: str) -> None:
        try:
            outcome = self._outcome(due)
            with self._sessions.begin() as tx:
                deliveries.settle(tx, due, outcome, chance=random.random())  # noqa: S311 - jitter
        except Unavailable as error:  # it will be sent again
            log.warning("webhook.unsettled message=%s %s", due.id, describe(error))
        except Exception:
            log.exception("webhook.failed message=%s", due.id)
        else:
            told = "delivered" if outcome.error is None else outcome.error
            log.info("webhook.sent message=%s webhook=%s %s", due.id, due.webhook_id, told)
        finally:
            with self._counting:
                self._under_way[due.webhook_id] -= 1
                self._owned[owner] -= 1
            self._wake.set()

    def _outcome(self, due: Due) -> Outcome:
        try:
            return self._poster.post(due)
        except Exception:  # whatever it is, the message must come to an end some day
            log.exception("webhook.failed message=%s", due.id)
            return Outcome(None, "a fault of this server; its log says more", 0.0)
