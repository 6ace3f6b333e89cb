"""What API and workers agree on about the broker: a message is a wake-up, never the truth.

Losing, repeating or reordering messages costs seconds at most: the reconciler tops them up, and
a worker that is woken for nothing finds no job to claim.
"""

from typing import Any

TASK = "stepsize.wake"
"""Name of the one Celery task; its argument, a job id, is a hint for the log."""

KEY_PREFIX = "stepsize:"


def inbox(worker: str) -> str:
    """The queue of a worker of this name, `kind-pid@host`, that no other listens to."""
    return f"node.{worker.partition('-')[2]}"


CELERY: dict[str, Any] = {
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "enable_utc": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_acquire_timeout": 5.0,
    "broker_transport_options": {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 3600,
        "global_keyprefix": KEY_PREFIX,
    },
    # one quick retry: with the defaults a frozen broker would hang the publisher for ever
    "task_publish_retry_policy": {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.2,
    },
}
"""Celery settings that both sides share."""
