"""Labelled examples as tensors on the device: a whole split, or a batch of one."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from worker.engine.models import Shape


@dataclass(frozen=True)
class Split:
    """Inputs (examples, channels, height, width) and int64 labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        channels, height, width = self.inputs.shape[1:]
        return channels, height, width

    def rows(self, indices: Tensor) -> "Split":
        """The examples of these indices, copied."""
        return Split(self.inputs.index_select(0, indices), self.labels.index_select(0, indices))

    def between(self, start: int, stop: int) -> "Split":
        """A view of consecutive examples."""
        return Split(self.inputs[start:stop], self.labels[start:stop])

    def first(self, size: int) -> "Split":
        """The batch that it begins with."""
        return self.between(0, size)

    def in_order(self, size: int, *, most: int | None = None) -> Iterator["Split"]:
        """One batch after another from the start, the last perhaps smaller; `most` at most."""
        stop = len(self) if most is None else min(most * size, len(self))
        for start in range(0, stop, size):
            yield self.between(start, min(start + size, stop))


@dataclass(frozen=True)
class Dataset:
    """A training and a validation split of labelled images, all of it in memory."""

    train: Split
    validation: Split
    classes: int

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        return self.train.shape
