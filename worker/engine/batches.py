"""Which examples each update sees: the training split in a new order every epoch."""

import torch

from worker.engine.splits import Split


class Batches:
    """One batch after another; what is left of an epoch beyond them sits out.

    Knows where it is in its epoch, so that a run can go on where it stopped.
    """

    def __init__(self, split: Split, size: int, shuffle: torch.Generator) -> None:
        self._split = split
        self._size = size
        self._shuffle = shuffle
        self._per_epoch = len(split) // size
        self._position = 0

    def next(self) -> Split:
        """The next batch, on the device."""
        if self._position == 0:
            order = torch.randperm(len(self._split), generator=self._shuffle)
            used = order[: self._per_epoch * self._size]
            rows = used.view(self._per_epoch, self._size).to(self._split.labels.device)
            self._epoch = rows.unbind()
        batch = self._split.rows(self._epoch[self._position])
        self._position = (self._position + 1) % self._per_epoch
        return batch
