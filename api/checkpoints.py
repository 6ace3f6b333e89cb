"""The checkpoints of a job: which there are, and their files."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api.etags import matches
from api.parts import CallerPart, FilesPart, IfNoneMatchPart, JobIdPart, SessionsPart
from api.problems import AwayError, NotFoundError
from store import checkpoints, jobs
from store.checkpoints import Checkpoint
from store.files import Files

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs/{job_id}/checkpoints", tags=["checkpoints"])

FILE_HEADERS = {"ETag": {"description": "the file's SHA-256", "schema": {"type": "string"}}}

PIECE = 1 << 20
"""Bytes of a file that are in memory at once."""


class CheckpointOut(BaseModel):
    """The state of a training after so many iterations, in a file."""

    iteration: int
    attempt: int
    bytes: int
    sha256: str
    lasting: Annotated[
        bool,
        Field(description="the end of a cycle, which is kept; of the others the latest are"),
    ]
    created_at: datetime


class CheckpointsOut(BaseModel):
    """Every checkpoint of a job, oldest first."""

    data: list[CheckpointOut]


@router.get("", operation_id="list_checkpoints")
def find(job_id: JobIdPart, caller: CallerPart, sessions: SessionsPart) -> CheckpointsOut:
    """Lists the checkpoints of a job, oldest first."""
    with sessions.read() as tx:
        jobs.get(tx, job_id, owner=caller.owner)
        found = checkpoints.find(tx, job_id)
    data = [CheckpointOut.model_validate(each, from_attributes=True) for each in reversed(found)]
    return CheckpointsOut(data=data)


def _closing() -> Iterator[ExitStack]:
    # after the answer has been sent, or its client has gone away in the middle
    with ExitStack() as stack:
        yield stack


@router.get(
    "/{iteration}",
    operation_id="download_checkpoint",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "a file that `torch.load(..., weights_only=True)` reads",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
            "headers": FILE_HEADERS,
        },
        304: {"description": "the file is that of the given ETag", "headers": FILE_HEADERS},
        404: {"description": "no such checkpoint, or its file is not in reach"},
        503: {"description": "the place of checkpoints does not answer"},
    },
)
def download(
    *,
    job_id: JobIdPart,
    caller: CallerPart,
    iteration: Annotated[int, Path(ge=1, le=2**53)],
    sessions: SessionsPart,
    files: FilesPart,
    closing: Annotated[ExitStack, Depends(_closing)],
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """The file of a checkpoint."""
    with sessions.read() as tx:
        jobs.get(tx, job_id, owner=caller.owner)
        checkpoint = checkpoints.get(tx, job_id, iteration)
    headers = {"ETag": f'"{checkpoint.sha256}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    file = closing.enter_context(_opened(files, checkpoint))
    headers["Content-Length"] = str(checkpoint.bytes)
    headers["Content-Disposition"] = f'attachment; filename="{job_id}-{iteration}.ckpt"'
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/octet-stream")


def _opened(files: Files, checkpoint: Checkpoint) -> BinaryIO:
    try:
        return files.open(checkpoint.file)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"the API does not see the file {checkpoint.file}: where workers run on other machines,"
            " STEPSIZE_CHECKPOINT_URL must name a place that they share with the API"
        ) from error
    except OSError as error:
        log.warning("checkpoint.unreadable file=%s %s", checkpoint.file, error)
        raise AwayError(
            f"the file {checkpoint.file} cannot be read now: the log of the API says why"
        ) from error


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
