"""The IDX format of MNIST and Fashion-MNIST: big-endian sizes, then bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.engine.files import Published, Shelf, damaged
from worker.engine.splits import Dataset, Split

CLASSES = 10
UNSIGNED_BYTES = 0x08

FASHION_MNIST = Published(
    name="fashion-mnist",
    page="https://github.com/zalandoresearch/fashion-mnist",
    base="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    md5={
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
MNIST = Published(
    name="mnist",
    page="http://yann.lecun.com/exdb/mnist/",
    base="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)


def read(shelf: Shelf) -> Dataset:
    """The training and test files as uint8 images of one channel."""
    # all four first: what is missing should be known before a large file is read
    files = {
        stem: shelf.find((stem, f"{stem}.gz")) or shelf.fetch(f"{stem}.gz")
        for stem in (name.removesuffix(".gz") for name in shelf.published.md5)
    }
    train, test = (
        _split(files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"])
        for part in ("train", "t10k")
    )
    return Dataset(train, test, CLASSES)


def read_array(path: Path, *, dimensions: int) -> Tensor:
    """The uint8 array in an IDX file, which may be compressed with gzip."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, str(error)) from error
    if data[:4] != bytes((0, 0, UNSIGNED_BYTES, dimensions)):
        raise damaged(path, f"it is no IDX file of bytes in {dimensions} dimensions")
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise damaged(path, "it ends within its header")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise damaged(path, f"it has {len(data) - start} bytes of data, not {math.prod(shape)}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def _split(images_path: Path, labels_path: Path) -> Split:
    images = read_array(images_path, dimensions=3)
    labels = read_array(labels_path, dimensions=1)
    if not images.numel():
        raise damaged(images_path, "it has no images")
    if len(labels) != len(images):
        raise damaged(labels_path, f"it has {len(labels)} labels for {len(images)} images")
    if int(labels.max()) >= CLASSES:
        raise damaged(labels_path, f"label {int(labels.max())} is not one of {CLASSES} classes")
    return Split(images.unsqueeze(1), labels)
