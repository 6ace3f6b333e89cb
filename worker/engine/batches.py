"""Which examples each update sees: the training split in a new order every epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from worker.engine.ranks import ONLY, Rank
from worker.engine.splits import Split


def orders(
    examples: int,
    size: int,
    shuffle: torch.Generator,
    *,
    done: int = 0,
    rank: Rank = ONLY,
    parts: int = 1,
) -> Iterator[Tensor]:
    """For each epoch the indices of its batches, (batches, size), without the first `done` of all.

    Where several processes share them, those of this one; so of each of the `parts` of a batch.

    What is left of an epoch beyond whole batches sits out. The generator is drawn from when an
    epoch begins, those that are done included: to go on where a run stopped takes a generator as
    it was at the run's start and the number of batches that it had.
    """
    per_epoch = examples // size
    for _ in range(done // per_epoch):
        torch.randperm(examples, generator=shuffle)
    skipped = done % per_epoch
    while True:
        order = torch.randperm(examples, generator=shuffle)
        yield rank.of(order[: per_epoch * size].view(per_epoch, size)[skipped:], parts=parts)
        skipped = 0


class Batches:
    """One batch after another of a split that is on the device.

    `done` of them were had before, by a run that this one goes on with.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        shuffle: torch.Generator,
        *,
        done: int = 0,
        rank: Rank = ONLY,
        parts: int = 1,
    ) -> None:
        self._split = split
        self._orders = orders(len(split), size, shuffle, done=done, rank=rank, parts=parts)
        self._epoch: tuple[Tensor, ...] = ()
        self._position = 0

    def next(self) -> Split:
        """The next batch, on the device."""
        if self._position == len(self._epoch):
            self._epoch = next(self._orders).to(self._split.labels.device).unbind()
            self._position = 0
        batch = self._split.rows(self._epoch[self._position])
        self._position += 1
        return batch
