"""Wakes workers over the broker, without ever making a request wait for it."""

import logging
import queue
import threading
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from spec.wakeup import CELERY, KEY_PREFIX, TASK

log = logging.getLogger(__name__)

PENDING = 1000
"""Wake-ups that wait to be published; more are dropped, since the reconciler tops them up."""


class Broker:
    """The sending end of the broker: one thread publishes, whatever the broker's health."""

    def __init__(self, url: str) -> None:
        self._celery = Celery(broker=url)
        self._celery.conf.update(CELERY)
        self._redis = Redis.from_url(
            url.replace("redis+socket://", "unix://"),
            socket_timeout=1,
            socket_connect_timeout=1,
        )
        self._pending: queue.Queue[tuple[str, str] | None] = queue.Queue(PENDING)
        self._thread = threading.Thread(target=self._publish, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Publishes what is pending, within reason, and ends."""
        self._pending.put(None)
        self._thread.join(timeout=5)
        self._redis.close()

    def wake(self, queue_name: str, hint: str) -> None:
        """Tells a worker of the queue to look for a job; returns at once, and may be lost."""
        try:
            self._pending.put_nowait((queue_name, hint))
        except queue.Full:
            log.warning("wake.dropped queue=%s job=%s", queue_name, hint)

    def waiting(self, queue_name: str) -> int:
        """Wake-ups of a queue that no worker has taken.

        Raises:
            RedisError: the broker does not answer.
        """
        length: Any = self._redis.llen(KEY_PREFIX + queue_name)
        return int(length)

    def ping(self) -> None:
        """Raises RedisError when the broker does not answer within a second."""
        self._redis.ping()

    def _publish(self) -> None:
        while (item := self._pending.get()) is not None:
            queue_name, hint = item
            try:
                self._celery.send_task(TASK, args=[hint], queue=queue_name, retry=True)
            except (OperationalError, RedisError, OSError) as error:
                log.warning("wake.failed queue=%s job=%s: %s", queue_name, hint, error)
