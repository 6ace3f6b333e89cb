"""Where raw examples come from: memory, files, or a dataset of torch's kind."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as MapStyle
from torch.utils.data import IterableDataset, default_collate

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.models import Shape
from worker.engine.splits import Split

Indices = NDArray[np.int64]

THROUGH_A_PIPE = 1 << 20
"""Bytes up to which a copy costs less than handing over shared memory does."""

AT_ONCE = 1 << 18
"""Numbers that a pass over a whole split reads at a time: what a processor's cache holds."""


@dataclass(frozen=True)
class Rows(Split):
    """A batch of raw examples on the CPU: inputs of any type of number, int64 labels."""

    def pin_memory(self) -> "Rows":
        """A copy that a GPU can fetch by itself; DataLoader looks for this method."""
        return Rows(self.inputs.pin_memory(), self.labels.pin_memory())

    def __reduce__(self) -> tuple[Callable[..., "Rows"], tuple[object, ...]]:
        return _received, (_sent(self.inputs), _sent(self.labels))


def _sent(numbers: Tensor) -> object:
    return numbers.numpy() if numbers.nbytes <= THROUGH_A_PIPE else numbers


def _received(inputs: object, labels: object) -> Rows:
    return Rows(torch.as_tensor(inputs), torch.as_tensor(labels))


class Source(Protocol):
    """The examples of a split by their indices, the same whenever they are read."""

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""

    def __len__(self) -> int: ...

    def rows(self, indices: Indices) -> Rows:
        """Copies of these examples."""


@dataclass(frozen=True)
class Raw:
    """A dataset of raw numbers, which are standardised when they are used, or taken `as_is`."""

    train: Source
    validation: Source
    classes: int
    as_is: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of it as float32 inputs and int64 labels."""
        examples = len(self.train) + len(self.validation)
        return examples * (4 * math.prod(self.train.shape) + 8)


@dataclass(frozen=True)
class InMemory:
    """A split of raw tensors as a source."""

    split: Split

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        return self.split.shape

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, indices: Indices) -> Rows:
        """Copies of these examples."""
        found = self.split.rows(torch.from_numpy(indices))
        return Rows(found.inputs, found.labels.to(torch.int64))


@dataclass(frozen=True)
class ByIndex:
    """A map-style dataset of (input, label) pairs, which may differ at each reading.

    What it draws from the global generators of Python, NumPy and torch follows the job's seed,
    however many processes read. Its inputs, of `shape`, are used as they are.
    """

    dataset: MapStyle[Any]
    shape: Shape

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # map-style datasets have a length

    def rows(self, indices: Indices) -> Rows:
        """These examples."""
        asked = indices.tolist()
        if hasattr(self.dataset, "__getitems__"):
            return collated(self.dataset.__getitems__(asked), self.shape)
        return collated([self.dataset[each] for each in asked], self.shape)


class OneByOne:
    """An iterable dataset of (input, label) pairs in an order of its own.

    Args:
        dataset: iterated anew, after a call of `set_epoch` if it has that, whenever it ends.
        shape: of an input, which is used as it is.
        examples: how many make an epoch, and are evaluated at a time; unset: the dataset's length.
    """

    def __init__(
        self, dataset: IterableDataset[Any], shape: Shape, *, examples: int | None = None
    ) -> None:
        if examples is None and not hasattr(dataset, "__len__"):
            raise EngineError(
                Reason.INVALID,
                f"/data: {type(dataset).__name__} is read one by one and does not say how many"
                " examples make an epoch: give it a length (__len__), or say `examples`",
            )
        self.dataset = dataset
        self.shape = shape
        self._examples = len(dataset) if examples is None else examples  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self._examples


@dataclass(frozen=True)
class Ready:
    """A dataset of torch's kind, whose inputs are used as they come."""

    train: ByIndex | OneByOne
    validation: ByIndex | OneByOne
    classes: int


def collated(pairs: list[Any], shape: Shape) -> Rows:
    """A batch of (input, label) pairs."""
    inputs, labels = default_collate(pairs)
    if inputs.shape[1:] != shape:
        raise ValueError(f"inputs are of shape {(*inputs.shape[1:],)} instead of {shape}")
    return Rows(inputs, labels.to(torch.int64))


def pieces(source: Source) -> Iterator[Rows]:
    """All examples from the first to the last, a few at a time."""
    step = max(1, AT_ONCE // math.prod(source.shape))
    for start in range(0, len(source), step):
        yield source.rows(np.arange(start, min(start + step, len(source))))
