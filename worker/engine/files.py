"""Finding the files of a dataset: in the data directory, in the system's, or at the publisher."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Self
from urllib.parse import urljoin
from urllib.request import urlopen

from spec.states import Reason
from worker.engine.errors import EngineError

SYSTEM = Path("/usr/share/datasets")
"""Where Debian's dataset packages put their files."""

SILENCE_SECONDS = 5.0
DOWNLOAD_SECONDS = 300.0


@dataclass(frozen=True)
class Published:
    """The files of a dataset as their publisher offers them."""

    name: str
    page: str
    base: str
    md5: Mapping[str, str]


@dataclass(frozen=True)
class Shelf:
    """Where a dataset's files may be: the first folder is ours to write to."""

    published: Published
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, published: Published, data_dir: Path, system: Path = SYSTEM) -> Self:
        """The data directory's folder, then the system's."""
        return cls(published, (data_dir / published.name, system / published.name))

    def find(self, names: Iterable[str]) -> Path | None:
        """The first file there is by any of these names."""
        paths = (folder / name for folder in self.folders for name in names)
        return next((path for path in paths if path.is_file()), None)

    def fetch(self, name: str) -> Path:
        """Download a file into our folder, or raise INVALID with what to do instead."""
        try:
            return download(
                urljoin(self.published.base, name),
                self.folders[0] / name,
                md5=self.published.md5[name],
            )
        except (OSError, HTTPException, EngineError) as error:
            raise EngineError(
                Reason.INVALID,
                f"{self.published.name}: {name} is missing, and downloading it failed ({error}); "
                f"put {', '.join(self.published.md5)} into {self.folders[0]}: they are at "
                f"{self.published.base} ({self.published.page})",
            ) from error


def download(
    url: str,
    target: Path,
    *,
    md5: str,
    silence: float = SILENCE_SECONDS,
    total: float = DOWNLOAD_SECONDS,
) -> Path:
    """Write what `url` serves to `target`, which appears only when whole and as published.

    Raises OSError or HTTPException when the network or the disk fails, which includes `silence`
    seconds without a byte and `total` seconds in all, and INVALID when the checksum differs.
    """
    deadline = monotonic() + total
    digest = hashlib.md5(usedforsecurity=False)  # what the publishers give
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urlopen(url, timeout=silence) as response,  # noqa: S310 - a publisher's address, not a user's
        ):
            while chunk := response.read1(1 << 20):
                if monotonic() > deadline:
                    raise TimeoutError(f"{url} took more than {total:.0f} seconds")
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != md5:
            raise EngineError(
                Reason.INVALID, f"{url} has md5 {digest.hexdigest()} instead of {md5}"
            )
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def damaged(path: Path | str, why: str) -> EngineError:
    """The error for a file that is not what its name says."""
    return EngineError(Reason.INVALID, f"{path} is damaged: {why}; delete it or replace it")
