"""Standardising inputs: each channel to mean 0 and standard deviation 1 over the training split."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from schedules.values import F64
from worker.engine.sources import Source, pieces


@dataclass(frozen=True)
class Standard:
    """What is subtracted and divided by, of shape (1, channels, 1, 1), in float32."""

    mean: Tensor
    std: Tensor

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(self.mean.to(device), self.std.to(device))

    def is_finite(self) -> bool:
        """Whether every input it was measured on was, as far as float32 goes."""
        return bool(torch.isfinite(self.mean).all() and torch.isfinite(self.std).all())

    def __call__(self, inputs: Tensor) -> Tensor:
        """Raw inputs in float32, standardised; to the bit the same on every device."""
        return inputs.to(torch.float32).sub(self.mean).div_(self.std)


def measured(source: Source) -> Standard:
    """The statistics of a source, in float64, in one pass (Chan, Golub and LeVeque, 1979)."""
    channels = source.shape[0]
    count, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    for rows in pieces(source):
        numbers: F64 = rows.inputs.numpy().astype(np.float64).reshape(len(rows), channels, -1)
        size = len(rows) * numbers.shape[2]
        with np.errstate(over="ignore", invalid="ignore"):  # it shows in the result
            here = numbers.mean((0, 2))
            numbers -= here[:, None]
            apart, count = here - mean, count + size
            mean += apart * size / count
            squares += np.einsum("ncp,ncp->c", numbers, numbers)
            squares += apart**2 * size * (count - size) / count
    std = np.sqrt(squares / count)
    std[std == 0] = 1  # a constant channel becomes 0, not NaN

    def each(values: F64) -> Tensor:
        return torch.from_numpy(values).to(torch.float32).view(1, -1, 1, 1)

    return Standard(each(mean), each(std))
