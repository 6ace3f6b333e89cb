"""Files of the server on this disk: whole, or not there."""

import contextlib
import hashlib
from pathlib import Path

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
                raise StepsizeError(f"{target.name} was damaged on its way: download it again")
            return part.replace(target)
        except httpx.TransportError as error:
            raise UnreachableError(f"the connection was lost on the way: {error}") from error
        finally:
            part.unlink(missing_ok=True)
