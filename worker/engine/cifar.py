"""The binary version of CIFAR-10: a label byte and 3 x 32 x 32 bytes of pixels a record."""

import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch

from worker.engine.files import Published, Shelf, damaged
from worker.engine.splits import Dataset, Split

CLASSES = 10
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
FOLDER = "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{n}.bin" for n in range(1, 6))
TEST = "test_batch.bin"

ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10 = Published(
    name="cifar10",
    page="https://www.cs.toronto.edu/~kriz/cifar.html",
    base="https://www.cs.toronto.edu/~kriz/",
    md5={ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"},
)


def read(shelf: Shelf) -> Dataset:
    """The five training files and the test file, unpacked or still in their archive."""
    unpacked = [shelf.find((name, f"{FOLDER}/{name}")) for name in (*TRAIN, TEST)]
    paths = [path for path in unpacked if path is not None]
    if len(paths) == len(unpacked):
        splits = [read_records(path, path.read_bytes()) for path in paths]
    else:
        splits = _read_archive(shelf.find((ARCHIVE,)) or shelf.fetch(ARCHIVE))
    train = Split(
        torch.cat([split.inputs for split in splits[:-1]]),
        torch.cat([split.labels for split in splits[:-1]]),
    )
    return Dataset(train, splits[-1], CLASSES)


def read_records(source: Path, data: bytes) -> Split:
    """The uint8 images and labels in one binary file; `source` is for the error."""
    if not data or len(data) % RECORD:
        raise damaged(source, f"{len(data)} bytes are not whole records of {RECORD}")
    records = torch.from_numpy(np.frombuffer(data, np.uint8).reshape(-1, RECORD).copy())
    labels = records[:, 0]
    if int(labels.max()) >= CLASSES:
        raise damaged(source, f"label {int(labels.max())} is not one of {CLASSES} classes")
    return Split(records[:, 1:].reshape(-1, *SHAPE), labels)


def _read_archive(path: Path) -> list[Split]:
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN, TEST)}
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name in wanted and (file := archive.extractfile(member)):
                    found[wanted[member.name]] = read_records(path / member.name, file.read())
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise damaged(path, str(error)) from error
    missing = [name for name in (*TRAIN, TEST) if name not in found]
    if missing:
        raise damaged(path, f"it lacks {', '.join(missing)}")
    return [found[name] for name in (*TRAIN, TEST)]
