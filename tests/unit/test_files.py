"""Files are written whole or not at all, in a directory and at a URL of fsspec."""

import errno
import os
from pathlib import Path
from typing import BinaryIO, Self

import pytest

from store.files import Directory, Files, FilesError, opened

NAMES = ["job_a/1-10.ckpt", "job_a/2-20.ckpt", "job_b/1-10.ckpt"]


@pytest.fixture(params=["directory", "file", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    place = {
        "directory": str(tmp_path / "files"),
        "file": f"file://{tmp_path}/files",
        "memory": f"memory://{tmp_path}/files",
    }
    return opened(place[request.param])


def test_what_is_written_is_read(files: Files) -> None:
    assert files.names() == []
    for name in NAMES:
        files.write(name, name.encode())
    files.write(NAMES[0], memoryview(b"again"))
    assert files.names() == NAMES
    assert files.names("job_a") == NAMES[:2]
    assert files.names("job_c") == []
    assert files.read(NAMES[0]) == b"again"
    with files.open(NAMES[1]) as file:
        assert file.read(5) == b"job_a"


def test_what_is_removed_is_gone(files: Files) -> None:
    for name in NAMES:
        files.write(name, b"x")
    for _ in range(2):  # the second time there is nothing to remove
        files.remove(NAMES[2])
        files.remove_folder("job_a")
    assert files.names() == []
    with pytest.raises(FileNotFoundError):
        files.read(NAMES[0])
    with pytest.raises(FileNotFoundError):
        files.open(NAMES[0])


class FullDisk:
    """A file that takes a few bytes and no more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> int:
        self._file.write(content[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Directory(tmp_path)
    files.write(NAMES[0], b"before")
    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda *args: FullDisk(whole(*args)))
    with pytest.raises(OSError, match="No space left"):
        files.write(NAMES[0], b"after it")
    monkeypatch.undo()
    assert files.names() == NAMES[:1]
    assert files.read(NAMES[0]) == b"before"


def test_a_directory_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Directory(tmp_path / "file").write(NAMES[0], b"x")


@pytest.mark.parametrize("url", ["nonsense://bucket", "s3://bucket/prefix"])
def test_a_place_that_cannot_be_used_is_named(url: str) -> None:
    with pytest.raises(FilesError, match="STEPSIZE_CHECKPOINT_URL"):
        opened(url)
