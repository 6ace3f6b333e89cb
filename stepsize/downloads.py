"""What the server sends as files: on this disk whole, or not there."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from stepsize import transport
from stepsize.errors import StepsizeError, UnreachableError


def download(http: httpx.Client, path: str, target: Path) -> Path:
    """Writes the body of an answer, whose ETag is its SHA-256, piece by piece.

    Raises:
        UnreachableError: the connection was lost, in the middle perhaps.
        ApiError: the server refused.
        StepsizeError: what arrived is not what the server has.
    """
    part = target.with_name(f"{target.name}.part")
    with contextlib.closing(transport.send(http, "GET", path, stream=True)) as response:
        try:
            with part.open("w+b") as file:
                file.writelines(response.iter_bytes())
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if response.headers.get("ETag", "").strip('"') != digest:
                raise StepsizeError(
                    f"{target.name} is not what its checksum says: it was damaged on its way, or"
                    " where it is kept; download it again, or take another"
                )
            return part.replace(target)
        except httpx.TransportError as error:
            raise UnreachableError(f"the connection was lost on the way: {error}") from error
        finally:
            part.unlink(missing_ok=True)


def write_body(http: httpx.Client, path: str, to: BinaryIO, **request: Any) -> None:
    """Writes the body of an answer to an open file, piece by piece.

    Raises:
        UnreachableError: the connection was lost, in the middle perhaps.
        ApiError: the server refused; nothing was written.
    """
    with contextlib.closing(transport.send(http, "GET", path, stream=True, **request)) as response:
        try:
            to.writelines(response.iter_bytes())
        except httpx.TransportError as error:
            raise UnreachableError(f"the connection was lost on the way: {error}") from error


@contextlib.contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write to, which has its name once the block has ended without an error."""
    part = target.with_name(f"{target.name}.part")
    if target.exists() and not target.is_file():  # a pipe or a device has no other name
        with target.open("wb") as file:
            yield file
        return
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
