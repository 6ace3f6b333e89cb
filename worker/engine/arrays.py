"""A dataset of the user's own: four .npy files in the data directory, mapped into memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spec.components import ArraysParams
from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.models import Shape
from worker.engine.sources import Indices, Raw, Rows

FOLDER = "arrays"
PARTS = ("train", "validation")
FILES = tuple(f"{part}_{what}.npy" for part in PARTS for what in ("inputs", "labels"))

REAL = "?bBhHiIlLqQefd"
"""NumPy's letters for the types of number that inputs may have."""

TORCH_HAS = "?bBhilqefd"
"""Those that torch computes with on every device; others become float32 as they are read."""

Stamp = tuple[int, int, int]
"""What changes when a file does."""

FEWEST_CLASSES, MOST_CLASSES = 2, 100_000


@dataclass
class ArraysOnDisk:
    """The examples of two files as a source; a process that receives it maps them anew."""

    inputs_path: Path
    labels_path: Path
    shape: Shape
    length: int
    stamps: tuple[Stamp, Stamp]
    _mapped: tuple[NDArray[Any], NDArray[Any]] | None = field(
        default=None, repr=False, compare=False
    )

    def __len__(self) -> int:
        return self.length

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_mapped": None}

    def rows(self, indices: Indices) -> Rows:
        """Copies of these examples.

        Raises:
            ValueError: a file is no longer the one that the job began with.
        """
        if self._mapped is None:
            self._mapped = _mapped(self.inputs_path), _mapped(self.labels_path)
            for path, before in zip((self.inputs_path, self.labels_path), self.stamps, strict=True):
                if _stamp(path) != before:
                    raise ValueError(f"{path} was changed since the job began: run it again")
        inputs, labels = (each[indices] for each in self._mapped)
        return Rows(
            torch.from_numpy(_native(inputs)).view(-1, *self.shape),
            torch.from_numpy(labels.astype(np.int64)),
        )


def stamp(params: ArraysParams, data_dir: Path) -> tuple[Stamp, ...]:
    """Of all files.

    Raises:
        EngineError: INVALID, a file is missing.
    """
    return tuple(_stamp(path) for path in _paths(params, data_dir))


def read(params: ArraysParams, data_dir: Path) -> Raw:
    """The files of a folder, checked without reading their inputs.

    Raises:
        EngineError: INVALID, a file is missing or not what it should be.
    """
    paths = _paths(params, data_dir)
    train, validation = (_checked(*paths[start : start + 2]) for start in (0, 2))
    if train.shape != validation.shape:
        raise _wrong(
            validation.inputs_path,
            f"has examples of shape {validation.shape}, and {train.inputs_path.name} of"
            f" {train.shape} (channels, height, width)",
        )
    tops = {each.labels_path: int(_mapped(each.labels_path).max()) for each in (train, validation)}
    classes = max(tops.values()) + 1 if params.classes is None else params.classes
    for path, top in tops.items():
        if top >= classes:
            raise _wrong(path, f"has a label {top}, which is not one of {classes} classes")
    if not FEWEST_CLASSES <= classes <= MOST_CLASSES:
        raise _wrong(
            train.labels_path,
            f"makes {classes} classes: labels are to count {FEWEST_CLASSES} to {MOST_CLASSES:,}",
        )
    return Raw(train, validation, classes)


def _paths(params: ArraysParams, data_dir: Path) -> list[Path]:
    folder = data_dir / FOLDER / params.folder
    for name in FILES:
        if not (folder / name).is_file():
            raise EngineError(
                Reason.INVALID,
                f"/data/params/folder: {folder / name} is missing; put {', '.join(FILES)} into"
                f" {folder} on every worker",
            )
    return [folder / name for name in FILES]


def _checked(inputs_path: Path, labels_path: Path) -> ArraysOnDisk:
    stamps = _stamp(inputs_path), _stamp(labels_path)
    inputs, labels = _mapped(inputs_path), _mapped(labels_path)
    if inputs.dtype.char not in REAL:
        raise _wrong(inputs_path, f"has numbers of type {inputs.dtype}: save real ones")
    if inputs.size == 0:
        raise _wrong(inputs_path, f"is empty: its shape is {inputs.shape}")
    if not inputs.flags.c_contiguous:
        raise _wrong(inputs_path, "is in Fortran's order: save it with numpy.ascontiguousarray")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise _wrong(
            labels_path,
            f"has numbers of type {labels.dtype} in shape {labels.shape}: save one integer an"
            " example, in one dimension",
        )
    shape = _shape(inputs_path, inputs.shape)
    if len(labels) != len(inputs):
        raise _wrong(labels_path, f"has {len(labels)} labels for {len(inputs)} inputs")
    if int(labels.min()) < 0:
        raise _wrong(labels_path, f"has a label {labels.min()}: count classes from 0")
    return ArraysOnDisk(inputs_path, labels_path, shape, len(labels), stamps)


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _shape(path: Path, shape: tuple[int, ...]) -> Shape:
    match shape:
        case (_, channels, height, width):
            return channels, height, width
        case (_, height, width):
            return 1, height, width
        case (_, features):
            return features, 1, 1  # each is standardised by itself
    raise _wrong(
        path,
        f"has shape {shape}: save (examples, channels, height, width), (examples, height, width)"
        " or (examples, features)",
    )


def _mapped(path: Path) -> NDArray[Any]:
    """The array in a file, of which nothing is read before it is indexed; never unpickles."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise _wrong(path, f"is no .npy file of numbers, or cut short ({error})") from error


def _native(numbers: NDArray[Any]) -> NDArray[Any]:
    """In a type that torch has, in this machine's order of bytes."""
    if numbers.dtype.char not in TORCH_HAS:
        return numbers.astype(np.float32)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _wrong(path: Path, what: str) -> EngineError:
    return EngineError(Reason.INVALID, f"/data/params/folder: {path} {what}")
