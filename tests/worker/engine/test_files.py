"""Readers, search and download of dataset files, against files and servers made here."""

import gzip
import hashlib
import io
import socket
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spec.states import Reason
from worker.engine import EngineError, cifar, idx
from worker.engine.files import Published, Shelf, download
from worker.engine.splits import Dataset

Bytes = NDArray[np.uint8]

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)
STEMS = [name.removesuffix(".gz") for name in idx.MNIST.md5]


def idx_bytes(array: Bytes) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def write_idx(folder: Path, *, zipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem in STEMS:
        data = idx_bytes(IMAGES if "images" in stem else LABELS)
        if zipped:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / stem).write_bytes(data)


def published(folder: Path, name: str = "mnist") -> Published:
    """A publisher whose files lie in `folder`."""
    md5 = {
        path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())
    }
    return Published(name=name, page="https://example.org", base=f"{folder.as_uri()}/", md5=md5)


@pytest.fixture
def nowhere(tmp_path: Path) -> Published:
    """MNIST, from a publisher that is gone."""
    return Published("mnist", "https://example.org", f"{tmp_path.as_uri()}/gone/", idx.MNIST.md5)


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("place", ["data", "system"])
def test_idx_files_are_found_and_read(
    tmp_path: Path, nowhere: Published, place: str, *, zipped: bool
) -> None:
    write_idx(tmp_path / place / "mnist", zipped=zipped)
    data = idx.read(Shelf.of(nowhere, tmp_path / "data", tmp_path / "system"))
    for split in (data.train, data.validation):
        assert np.array_equal(split.inputs, IMAGES[:, np.newaxis])
        assert np.array_equal(split.labels, LABELS)
    assert (data.classes, data.shape) == (10, (1, 4, 3))


def test_missing_files_are_named_with_their_folder_and_their_source(
    tmp_path: Path, nowhere: Published
) -> None:
    with pytest.raises(EngineError) as refused:
        idx.read(Shelf.of(nowhere, tmp_path / "data", tmp_path / "system"))
    assert refused.value.reason is Reason.INVALID
    for part in (*idx.MNIST.md5, str(tmp_path / "data" / "mnist"), "https://example.org", "gone"):
        assert part in refused.value.detail


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(IMAGES), mtime=0)[:-9],
            "ended before",
        ),
        ("train-images-idx3-ubyte.gz", b"no gzip at all", "Not a gzipped file"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES)[:-1], "59 bytes of data, not 60"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES)[:7], "within its header"),
        ("train-images-idx3-ubyte", idx_bytes(LABELS), "no IDX file of bytes in 3 dimensions"),
        ("train-images-idx3-ubyte", b"", "no IDX file"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES[:0]), "it has no images"),
        ("train-labels-idx1-ubyte", idx_bytes(LABELS[1:]), "4 labels for 5 images"),
        ("train-labels-idx1-ubyte", idx_bytes(LABELS + 9), "label 14 is not one of 10"),
    ],
)
def test_a_damaged_idx_file_is_named(
    tmp_path: Path, nowhere: Published, name: str, data: bytes, why: str
) -> None:
    write_idx(tmp_path / "mnist", zipped=name.endswith(".gz"))
    (tmp_path / "mnist" / name).write_bytes(data)
    with pytest.raises(EngineError, match=why) as refused:
        idx.read(Shelf.of(nowhere, tmp_path))
    assert refused.value.reason is Reason.INVALID
    assert str(tmp_path / "mnist" / name) in refused.value.detail


def test_what_is_not_here_is_downloaded_once(tmp_path: Path) -> None:
    write_idx(tmp_path / "server")
    shelf = Shelf.of(published(tmp_path / "server"), tmp_path / "data", tmp_path / "system")
    first = idx.read(shelf)
    for path in (tmp_path / "server").iterdir():
        path.unlink()
    assert np.array_equal(idx.read(shelf).train.inputs, first.train.inputs)
    assert sorted(path.name for path in (tmp_path / "data" / "mnist").iterdir()) == sorted(
        idx.MNIST.md5
    )


def test_a_download_with_another_checksum_is_not_kept(tmp_path: Path) -> None:
    write_idx(tmp_path / "server")
    source = published(tmp_path / "server")
    (tmp_path / "server" / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(EngineError, match="has md5"):
        idx.read(Shelf.of(source, tmp_path / "data", tmp_path / "system"))
    kept = {path.name for path in (tmp_path / "data" / "mnist").iterdir()}
    assert "train-images-idx3-ubyte.gz" not in kept
    assert kept < set(idx.MNIST.md5)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(OSError, match="timed out"):
            download(url, tmp_path / "file", md5="", silence=0.1)
    assert not list(tmp_path.iterdir())


def test_a_download_that_never_ends_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(TimeoutError, match="more than 0 seconds"):
        download((tmp_path / "source").as_uri(), tmp_path / "file", md5="", total=0)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def records(seed: int, n: int = 3) -> Bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (n, cifar.RECORD), np.uint8)
    rows[:, 0] %= 10
    return rows


CIFAR_FILES = {name: records(k) for k, name in enumerate((*cifar.TRAIN, cifar.TEST))}


def write_archive(path: Path, files: dict[str, Bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, rows in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = rows.nbytes
            archive.addfile(member, io.BytesIO(rows.tobytes()))


def check_cifar(data: Dataset) -> None:
    train = np.concatenate([CIFAR_FILES[name] for name in cifar.TRAIN])
    assert np.array_equal(data.train.labels, train[:, 0])
    assert np.array_equal(data.train.inputs, train[:, 1:].reshape(15, 3, 32, 32))
    assert np.array_equal(data.validation.labels, CIFAR_FILES[cifar.TEST][:, 0])
    assert data.shape == (3, 32, 32)


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_unpacked_cifar_is_read(tmp_path: Path, folder: str) -> None:
    (tmp_path / "cifar10" / folder).mkdir(parents=True)
    for name, rows in CIFAR_FILES.items():
        (tmp_path / "cifar10" / folder / name).write_bytes(rows.tobytes())
    check_cifar(cifar.read(Shelf.of(cifar.CIFAR10, tmp_path)))


def test_the_cifar_archive_is_read_and_downloaded(tmp_path: Path) -> None:
    write_archive(tmp_path / "data" / "cifar10" / cifar.ARCHIVE, CIFAR_FILES)
    check_cifar(cifar.read(Shelf.of(cifar.CIFAR10, tmp_path / "data")))
    source = published(tmp_path / "data" / "cifar10", "cifar10")
    check_cifar(cifar.read(Shelf.of(source, tmp_path / "other")))
    assert (tmp_path / "other" / "cifar10" / cifar.ARCHIVE).is_file()


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (b"", "0 bytes are not whole records"),
        (records(0).tobytes()[:-1], "9218 bytes are not whole records of 3073"),
        (bytes([10]) + bytes(3072), "label 10 is not one of 10"),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path: Path, rows: bytes, why: str) -> None:
    (tmp_path / "cifar10").mkdir()
    for name in CIFAR_FILES:
        (tmp_path / "cifar10" / name).write_bytes(rows)
    with pytest.raises(EngineError, match=f"data_batch_1.bin is damaged: {why}"):
        cifar.read(Shelf.of(cifar.CIFAR10, tmp_path))


def test_a_damaged_cifar_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cifar10" / cifar.ARCHIVE
    write_archive(path, {name: CIFAR_FILES[name] for name in cifar.TRAIN})
    with pytest.raises(EngineError, match="is damaged: it lacks test_batch"):
        cifar.read(Shelf.of(cifar.CIFAR10, tmp_path))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(EngineError, match="is damaged: ") as refused:
        cifar.read(Shelf.of(cifar.CIFAR10, tmp_path))
    assert str(path) in refused.value.detail
