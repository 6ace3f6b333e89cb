"""Which examples each update sees: the training split in a new order every epoch."""

import torch
from torch import Tensor


class Batches:
    """Indices of one batch after another; what is left of an epoch beyond them sits out.

    Knows where it is in its epoch, so that a run can go on where it stopped.
    """

    def __init__(
        self, examples: int, size: int, shuffle: torch.Generator, device: torch.device
    ) -> None:
        self._examples = examples
        self._size = size
        self._shuffle = shuffle
        self._device = device
        self._per_epoch = examples // size
        self._position = 0

    def next(self) -> Tensor:
        """The indices of the next batch, on the device."""
        if self._position == 0:
            order = torch.randperm(self._examples, generator=self._shuffle)
            used = order[: self._per_epoch * self._size]
            self._epoch = used.view(self._per_epoch, self._size).to(self._device)
        batch = self._epoch[self._position]
        self._position = (self._position + 1) % self._per_epoch
        return batch
