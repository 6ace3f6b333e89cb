"""The built-in datasets: loaded once and kept for the jobs that follow, or streamed."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from spec.components import (
    ArraysParams,
    Cifar10Params,
    ComponentParams,
    DigitsParams,
    FashionMnistParams,
    MnistParams,
    SyntheticParams,
)
from spec.compute import Loader
from spec.states import Reason
from worker.engine import arrays, cifar, digits, idx, memory, offered_data, synthetic
from worker.engine.errors import EngineError
from worker.engine.files import Shelf
from worker.engine.plugins import PluginParams
from worker.engine.sources import InMemory, Raw, Ready, Source, pieces
from worker.engine.splits import Dataset, Split
from worker.engine.standard import Standard, measured
from worker.engine.streams import Stream, Streamed


@dataclass(frozen=True)
class Elsewhere:
    """A dataset that is not on the device; without `standard` it is used as it comes."""

    source: Raw | Ready
    standard: Standard | None


def open_dataset(
    params: ComponentParams, *, device: torch.device, data_dir: Path, loader: Loader | None
) -> Dataset | Streamed:
    """The dataset on `device`; streamed if it takes half of what is free, or a loader is given.

    Raises:
        EngineError: INVALID, its files cannot be had.
    """
    stamp = arrays.stamp(params, data_dir) if isinstance(params, ArraysParams) else None
    streamed = loader is not None
    found = load(params, device=device, data_dir=data_dir, streamed=streamed, stamp=stamp)
    if isinstance(found, Dataset):
        return found
    train, validation = (
        Stream(split, found.standard, loader or Loader(), device, classes=found.source.classes)
        for split in (found.source.train, found.source.validation)
    )
    return Streamed(train, validation, found.source.classes)


@lru_cache(maxsize=2)
def load(
    params: ComponentParams,
    *,
    device: torch.device,
    data_dir: Path,
    streamed: bool = False,
    stamp: object = None,  # noqa: ARG001 - part of what the result is kept under
) -> Dataset | Elsewhere:
    """The standardised dataset on `device`, or where to stream it from.

    `stamp` differs where files that may change have changed.
    """
    if isinstance(params, PluginParams):
        source = offered_data.read(params, data_dir)
    else:
        source = _read(params, data_dir)
    if isinstance(source, Ready):  # its examples may differ at each reading
        return Elsewhere(source, None)
    standard = None if source.as_is else measured(source.train)
    if standard is not None and not standard.is_finite():
        raise EngineError(
            Reason.INVALID,
            f"/data: the training inputs of {params.component} are not all finite in float32;"
            " replace NaN and infinities",
        )
    if not streamed and 2 * source.nbytes <= memory.available(device):
        return resident(source, standard, device)
    return Elsewhere(source, standard)


def resident(raw: Raw, standard: Standard | None, device: torch.device) -> Dataset:
    """All of a dataset on `device`."""
    standard = standard and standard.to(device)

    def split(source: Source) -> Split:
        inputs = torch.empty(len(source), *source.shape, device=device)
        labels = torch.empty(len(source), dtype=torch.int64, device=device)
        start = 0
        for rows in pieces(source):
            stop = start + len(rows)
            given = rows.inputs.to(device)
            inputs[start:stop] = given if standard is None else standard(given)
            labels[start:stop] = rows.labels
            start = stop
        return Split(inputs, labels)

    return Dataset(split(raw.train), split(raw.validation), raw.classes)


def _read(params: ComponentParams, data_dir: Path) -> Raw | Ready:
    match params:
        case DigitsParams():
            return in_memory(digits.read())
        case FashionMnistParams():
            return in_memory(idx.read(Shelf.of(idx.FASHION_MNIST, data_dir)))
        case MnistParams():
            return in_memory(idx.read(Shelf.of(idx.MNIST, data_dir)))
        case Cifar10Params():
            return in_memory(cifar.read(Shelf.of(cifar.CIFAR10, data_dir)))
        case SyntheticParams():
            return in_memory(synthetic.make(params))
        case ArraysParams():
            return arrays.read(params, data_dir)
    raise TypeError(f"no dataset is made from {type(params).__name__}")


def in_memory(raw: Dataset) -> Raw:
    """A dataset of raw tensors, to be read from."""
    return Raw(InMemory(raw.train), InMemory(raw.validation), raw.classes)
