"""The state of running jobs in files: written whole, read back only if every byte is as written."""

import hashlib
import io
import logging
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from store import checkpoints
from store.checkpoints import Checkpoint, Saved
from store.database import Sessions, Unavailable, describe
from store.files import Files
from store.leases import Lease
from worker.engine import STATE_VERSION, State

log = logging.getLogger(__name__)

VERSION = 1
"""Of what a file holds; one of another version counts as unreadable."""

_ATTEMPT = re.compile(r"/([0-9]+)-[0-9]+\.ckpt")


class DamagedError(Exception):
    """A checkpoint is missing, or not what was written."""


class OtherVersionError(Exception):
    """A checkpoint is of another version of stepsize, which can read it."""


@dataclass(frozen=True)
class Content:
    """What a job needs to go on.

    Attributes:
        engine: the state of its training.
        snapshots: iteration -> the snapshot's file, from the data directory; None if it was lost.
    """

    engine: State
    snapshots: dict[int, str | None] = field(default_factory=dict)


def save(files: Files, lease: Lease, content: Content, *, iteration: int, lasting: bool) -> Saved:
    """Write a checkpoint under a name that no other attempt uses.

    Raises:
        OSError: nothing was written.
    """
    buffer = io.BytesIO()
    torch.save(
        {"version": VERSION, "engine": content.engine, "snapshots": content.snapshots}, buffer
    )
    name = f"{lease.job_id}/{lease.attempt}-{iteration}.ckpt"
    with buffer.getbuffer() as written:
        digest = hashlib.sha256(written).hexdigest()
        files.write(name, written)
        return Saved(iteration, name, len(written), digest, lasting)


def load(files: Files, checkpoint: Checkpoint) -> Content:
    """Read a checkpoint; its tensors are on the CPU. Nothing in it can run code.

    Raises:
        DamagedError: saying what is wrong with it.
        OtherVersionError: this version cannot read it.
        OSError: its storage is away.
    """
    try:
        written = files.read(checkpoint.file)
    except FileNotFoundError as error:
        raise DamagedError(f"{checkpoint.file} is missing") from error
    if hashlib.sha256(written).hexdigest() != checkpoint.sha256:
        raise DamagedError(f"{checkpoint.file} is damaged: its checksum is another")
    try:
        found: Mapping[str, Any] = torch.load(
            io.BytesIO(written), map_location="cpu", weights_only=True
        )
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise DamagedError(f"{checkpoint.file} cannot be read: {error}") from error
    layouts = found.get("version"), found.get("engine", {}).get("version")
    if layouts != (VERSION, STATE_VERSION):
        raise OtherVersionError(
            f"{checkpoint.file} was written by another version of stepsize (layouts {layouts}, and"
            f" this one reads {(VERSION, STATE_VERSION)}): retry on a worker of that version, or"
            " submit the job anew"
        )
    return Content(found["engine"], found["snapshots"])


def remove(files: Files, names: Iterable[str]) -> None:
    """Remove files that no row points to any more; what cannot be removed stays."""
    for name in names:
        try:
            files.remove(name)
        except OSError as error:
            log.warning("checkpoint.remove_failed file=%s %s", name, error)


def tidy(files: Files, sessions: Sessions, lease: Lease) -> None:
    """Remove what this attempt and earlier ones of a job have written and no row points to."""
    try:
        there = files.names(lease.job_id)
        with sessions.read() as tx:
            needed = checkpoints.files(tx, [lease.job_id])
    except (OSError, *Unavailable) as error:
        log.warning("checkpoint.tidy_failed job=%s %s", lease.job_id, describe(error))
        return
    remove(
        files, [each for each in there if each not in needed and _attempt(each) <= lease.attempt]
    )


def tidy_all(files: Files, sessions: Sessions) -> None:
    """Remove what the killed workers of all jobs have left behind that are not running now.

    Files of jobs that the database does not know are left alone: they may be another's.
    """
    try:
        there = files.names()
        job_ids = sorted({each.partition("/")[0] for each in there})
        with sessions.read() as tx:
            resting = checkpoints.resting(tx, job_ids)
            needed = checkpoints.files(tx, resting)
    except (OSError, *Unavailable) as error:
        log.warning("checkpoint.tidy_failed %s", describe(error))
        return
    orphans = [each for each in there if each.partition("/")[0] in resting and each not in needed]
    remove(files, orphans)
    if orphans:
        log.info("checkpoint.tidied files=%d", len(orphans))


def _attempt(name: str) -> int:
    found = _ATTEMPT.search(name)
    return int(found[1]) if found else 0
