"""Keeps the weights of snapshots as files, whole or not at all."""

import io
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from pydantic import JsonValue
from torch import Tensor

from spec.settings import Settings
from spec.values import JobId
from worker.engine import Snapshot

log = logging.getLogger(__name__)


def save(folder: Path, iteration: int, weights: Mapping[str, Tensor]) -> Path:
    """Write a state dict to `<iteration>.pt`, for `torch.load(..., weights_only=True)`.

    Raises:
        OSError: the disk is full, or may not be written to; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{iteration}.pt"
    content = io.BytesIO()  # torch hides what goes wrong with a file
    torch.save(dict(weights), content)
    part = folder / f"{iteration}.{secrets.token_hex(8)}.tmp"
    try:
        with part.open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def kept(settings: Settings, job_id: JobId, snapshot: Snapshot) -> str | None:
    """Where a snapshot is now, or None: a training is worth more than its copies."""
    try:
        path = save(settings.snapshots(job_id), snapshot.iteration, snapshot.weights)
    except OSError as error:
        log.warning("job.snapshot_failed job=%s %s", job_id, error)
        return None
    return path.relative_to(settings.data_dir).as_posix()


def with_files(
    result: dict[str, JsonValue], files: Mapping[int, str | None]
) -> dict[str, JsonValue]:
    """The result with the file of each snapshot, and a warning where one has none."""
    if not files:
        return result
    taken = cast("list[dict[str, JsonValue]]", result["snapshots"])
    filled: list[JsonValue] = [
        {**each, "file": files[cast("int", each["iteration"])]} for each in taken
    ]
    result = {**result, "snapshots": filled}
    if lost := [str(iteration) for iteration, file in files.items() if file is None]:
        which = ", ".join(lost)
        warning = f"the snapshots at {which} could not be written; the worker's log says why"
        result["warnings"] = [warning]
    return result
