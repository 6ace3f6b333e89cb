"""The data directory of the embedded service: what lies where, and who may use it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepsize.errors import StepsizeError


class InUseError(StepsizeError):
    """Another process holds the data directory."""


@contextmanager
def held(directory: Path, *, url: str) -> Iterator[None]:
    """Makes the directory, and keeps everyone else out of it until the block ends.

    Raises:
        InUseError: someone else is in it; the message says who.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("logs", "run"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        lock = os.open(directory / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StepsizeError(f"cannot use {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(f"{directory} is in use{_holder(lock)}") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _holder(lock: int) -> str:
    try:
        holder = json.loads(os.pread(lock, 4096, 0))
    except ValueError:
        return ""  # it has the lock, but has not written who it is yet
    return (
        f" by the stepsize service at {holder['url']} (process {holder['pid']}): "
        "use that one, stop it, or name another directory with --data-dir"
    )


def fresh_log(directory: Path, name: str) -> Path:
    """The path of an empty log; the one before is kept beside it."""
    log = directory / "logs" / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    return log
