"""Which part of every batch this process computes, where several share a job."""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Rank:
    """One of so many processes; the first leads, and records."""

    index: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    def of(self, whole: Tensor, *, parts: int = 1) -> Tensor:
        """Its columns of (rows, columns): of each of so many equal parts, the same share."""
        if self.alone:
            return whole
        return whole.view(len(whole), parts, self.count, -1)[:, :, self.index].flatten(1)

    def piece(self, whole: Tensor) -> Tensor:
        """Its share of the rows, which are equally many for all."""
        return whole.chunk(self.count)[self.index]

    def mean(self, values: Tensor) -> Tensor:
        """Over all processes; to be asked for by all of them, and in the same order."""
        if self.alone:
            return values
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed / self.count


ONLY = Rank()


def placed(device: torch.device, index: int) -> torch.device:
    """The device of a process, given that of the first: on GPUs each has one of its own."""
    if device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + index)
