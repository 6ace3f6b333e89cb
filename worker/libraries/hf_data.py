"""Datasets of the library `datasets`: from the hub, or Parquet and Arrow in the data directory."""

import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.sources import Indices, Raw, Rows
from worker.libraries.present import require
from worker.plugins import Shape, within

require("datasets")

FOLDER = "datasets"
"""In the data directory: where files lie, and what the library makes of them."""

KINDS = {".parquet": "parquet", ".arrow": "arrow"}

Column = Annotated[str, Field(min_length=1, max_length=200)]
Split = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]:%-]{1,100}$")]


class Table:
    """A split as a source: some columns are the inputs, one has the labels."""

    def __init__(
        self, rows: Any, inputs: tuple[str, ...], labels: NDArray[np.int64], size: int | None
    ) -> None:
        self._rows = _undecoded(rows.select_columns(list(inputs)))
        self._inputs = inputs
        self._labels = labels
        self._size = size
        self._mode: str | None = None
        found = self.rows(np.zeros(1, np.int64)).inputs.shape[1:]
        self.shape: Shape = (found[0], found[1], found[2])

    def __len__(self) -> int:
        return len(self._labels)

    def rows(self, indices: Indices) -> Rows:
        """These examples, images decoded."""
        found = self._rows[indices.tolist()]
        if len(self._inputs) > 1:  # numbers, a feature each
            stacked = np.stack([np.asarray(found[name]) for name in self._inputs], axis=1)
        else:
            stacked = np.stack([self._numbers(each) for each in found[self._inputs[0]]])
        numbers = torch.from_numpy(np.ascontiguousarray(stacked))
        return Rows(_shaped(numbers), torch.from_numpy(self._labels[indices]))

    def _numbers(self, value: Any) -> NDArray[Any]:
        """A value as an array: an image as (channels, height, width)."""
        if not isinstance(value, dict):
            return np.asarray(value)
        from PIL import Image  # noqa: PLC0415 - only images need it

        if value["bytes"] is None:
            raise EngineError(
                Reason.INVALID,
                "/data/params/inputs: has images by path or address, which are not followed: put"
                " the images themselves into the table (datasets' embed_external_files)",
            )
        given = Image.open(io.BytesIO(value["bytes"]))
        if self._mode is None:
            self._mode = "L" if len(given.getbands()) == 1 else "RGB"
        image = given.convert(self._mode)
        if self._size is not None:
            image = image.resize((self._size, self._size))
        pixels = np.array(image)
        return pixels[None] if self._mode == "L" else pixels.transpose(2, 0, 1)


def data(  # noqa: PLR0913 - each is a parameter of a job
    data_dir: Path,
    *,
    local: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="a folder below `datasets` in the data directory, with a file or files"
            " for each split: train.parquet, train-*.parquet, or .arrow",
        ),
    ] = None,
    hub: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?$",
            description="a name on the Hugging Face hub, from where it is downloaded",
        ),
    ] = None,
    config: Annotated[
        str | None, Field(pattern=r"^[\w.-]{1,100}$", description="of a hub dataset that has some")
    ] = None,
    revision: Annotated[
        str | None, Field(pattern=r"^[\w.-]{1,100}$", description="of it: a tag or a commit")
    ] = None,
    train: Split = "train",
    validation: Annotated[
        Split | Annotated[float, Field(gt=0, lt=1)],
        Field(description="a split, or the share of the training split that is held out"),
    ] = "validation",
    inputs: Annotated[
        tuple[Column, ...],
        Field(
            min_length=1,
            max_length=1000,
            description="a column of images or of lists of numbers, or several of numbers",
        ),
    ] = ("image",),
    labels: Annotated[Column, Field(description="the column of the classes")] = "label",
    size: Annotated[
        int | None, Field(ge=1, le=4096, description="of images, in pixels a side; unset: as is")
    ] = None,
    as_is: Annotated[
        bool, Field(description="do not standardise, as token ids must not be")
    ] = False,
) -> Raw:
    """A set of Hugging Face's `datasets`: columns of a table, images decoded."""
    if (local is None) == (hub is None):
        raise EngineError(Reason.INVALID, "/data/params: give exactly one of local, hub")
    fraction = validation if isinstance(validation, float) else None
    wanted = [train] if fraction is not None else [train, str(validation)]
    if local is not None:
        found = _local(data_dir, local, wanted)
    else:
        found = _hub(data_dir, str(hub), config, revision, wanted)
    if fraction is not None:
        halves = found[0].train_test_split(test_size=fraction, seed=0)
        found = [halves["train"], halves["test"]]
    for name in (*inputs, labels):
        if name not in found[0].column_names:
            known = ", ".join(found[0].column_names)
            raise EngineError(Reason.INVALID, f"/data/params: there is no column {name!r}: {known}")
    classes, numbers = _labels(found, labels)
    first, second = (
        Table(rows, inputs, each, size) for rows, each in zip(found, numbers, strict=True)
    )
    return Raw(first, second, classes, as_is=as_is)


def _local(data_dir: Path, name: str, splits: list[str]) -> list[Any]:
    from datasets import load_dataset  # noqa: PLC0415 - takes seconds

    root = within(data_dir, FOLDER)
    try:
        folder = within(root, name)
    except ValueError as error:
        raise EngineError(Reason.INVALID, f"/data/params/local: {error}") from error
    found = []
    for split in splits:
        files = [
            within(root, str(each))
            for each in sorted(folder.glob(f"{split}*"))
            if each.suffix in KINDS and each.stem.removeprefix(split)[:1] in {"", "-", "_", "."}
        ]
        kinds = {KINDS[each.suffix] for each in files}
        if len(kinds) != 1:
            raise EngineError(
                Reason.INVALID,
                f"/data/params/local: {folder} has no {split}.parquet or {split}-*.parquet (or"
                " .arrow), or both kinds: put the files of a split there on every worker",
            )
        loaded = load_dataset(
            kinds.pop(),
            data_files={"train": [str(each) for each in files]},
            split="train",
            cache_dir=str(root / ".cache"),
        )
        found.append(loaded)
    return found


def _hub(
    data_dir: Path, name: str, config: str | None, revision: str | None, splits: list[str]
) -> list[Any]:
    from datasets import load_dataset  # noqa: PLC0415 - takes seconds

    cache = str(within(data_dir, FOLDER) / ".cache")
    return [
        load_dataset(name, config, revision=revision, split=split, cache_dir=cache)
        for split in splits
    ]


def _undecoded(rows: Any) -> Any:
    """The rows with images as bytes: the library would open whatever path a table names."""
    from datasets import Image  # noqa: PLC0415 - takes seconds

    for name, feature in rows.features.items():
        if isinstance(feature, Image):
            rows = rows.cast_column(name, Image(decode=False))
        elif not _is_plain(feature):
            raise EngineError(
                Reason.INVALID,
                f"/data/params/inputs: column {name!r} has neither images nor numbers: {feature}",
            )
    return rows


def _is_plain(feature: Any) -> bool:
    """Whether reading it only takes numbers and words from the table."""
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return _is_plain(inner)
    return type(feature).__name__ in {"Value", "ClassLabel", "Array2D", "Array3D"}


def _labels(found: list[Any], column: str) -> tuple[int, list[NDArray[np.int64]]]:
    """How many classes there are, and the number of each example's."""
    from datasets import ClassLabel, Value  # noqa: PLC0415 - takes seconds

    feature = found[0].features[column]
    if not isinstance(feature, ClassLabel | Value):
        raise EngineError(
            Reason.INVALID, f"/data/params/labels: column {column!r} has no labels: {feature}"
        )
    given = [np.asarray(each[column][:]) for each in found]
    if isinstance(feature, ClassLabel):
        return int(feature.num_classes), [each.astype(np.int64) for each in given]
    names = np.unique(np.concatenate(given))
    if names.dtype.kind not in "iu" or names[0] < 0:
        return len(names), [np.searchsorted(names, each).astype(np.int64) for each in given]
    return int(names[-1]) + 1, [each.astype(np.int64) for each in given]


def _shaped(numbers: torch.Tensor) -> torch.Tensor:
    match tuple(numbers.shape):
        case (_, _, _, _):
            return numbers
        case (examples, height, width):
            return numbers.view(examples, 1, height, width)
        case (examples, features):
            return numbers.view(examples, features, 1, 1)
        case (examples,):
            return numbers.view(examples, 1, 1, 1)
    raise EngineError(Reason.INVALID, f"/data/params/inputs: of shape {(*numbers.shape[1:],)}")
