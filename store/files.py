"""Files of any size beside the database: in a directory, or wherever fsspec can write to.

Names are relative, with slashes: `job_x/1-300.ckpt`. A name is written whole or not at all, so that
what a reader finds under it is complete.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

PARTIAL = ".tmp"
"""How the names of files end that are being written."""


class FilesError(Exception):
    """The place for files cannot be used."""


class Files(Protocol):
    """A place for files; what goes wrong is an OSError, FileNotFoundError where it is that."""

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file, in place of one of that name."""

    def read(self, name: str) -> bytes:
        """All of a file."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read piece by piece."""

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it; it may be gone already."""

    def names(self, folder: str = "") -> list[str]:
        """The files in a folder and below; none if there is no such folder."""


class Directory:
    """Files in a directory of this machine, or of a file system that several of them mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Written to a temporary name, flushed to the disk, renamed, and the name flushed too."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}{PARTIAL}")
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self, name: str) -> bytes:
        """All of a file."""
        return (self._root / name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        """A file to be read piece by piece."""
        return (self._root / name).open("rb")

    def remove(self, name: str) -> None:
        """Remove a file, and its folder if that was the last one."""
        path = self._root / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it is not empty, or gone
            path.parent.rmdir()

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / folder)

    def names(self, folder: str = "") -> list[str]:
        """The files in a folder and below."""
        found = (self._root / folder).rglob("*")
        return sorted(each.relative_to(self._root).as_posix() for each in found if each.is_file())


class Remote:
    """Files at a URL of fsspec, such as `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Raises FilesError where fsspec does not know the protocol, or needs another package."""
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - only where files are remote

            self._fs, self._root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise FilesError(f"STEPSIZE_CHECKPOINT_URL {url}: {error}") from error

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Object stores show an object once all of it is there."""
        with _as_oserror():
            self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(self._path(name), bytes(content))

    def read(self, name: str) -> bytes:
        """All of a file."""
        with _as_oserror():
            return cast("bytes", self._fs.cat_file(self._path(name)))

    def open(self, name: str) -> BinaryIO:
        """A file to be read piece by piece."""
        with _as_oserror():
            return cast("BinaryIO", self._fs.open(self._path(name), "rb"))

    def remove(self, name: str) -> None:
        """Remove a file."""
        with _as_oserror(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def remove_folder(self, folder: str) -> None:
        """Remove all that lies below a prefix."""
        with _as_oserror(), suppress(FileNotFoundError):
            self._fs.rm(self._path(folder), recursive=True)

    def names(self, folder: str = "") -> list[str]:
        """The files below a prefix."""
        with _as_oserror():
            found: list[Any] = self._fs.find(self._path(folder))
        start = len(self._root.rstrip("/")) + 1
        return sorted(str(each)[start:] for each in found)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")


def opened(place: str) -> Files:
    """The files at a directory or URL; nothing is written or asked for yet.

    Raises:
        FilesError: it cannot be understood.
    """
    if place.startswith("file://"):
        return Directory(Path(place.removeprefix("file://")))
    return Remote(place) if "://" in place else Directory(Path(place))


@contextmanager
def _as_oserror() -> Iterator[None]:
    """Every file system of fsspec has errors of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
