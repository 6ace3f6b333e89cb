"""Images changed at random before they are trained on, on the device."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spec.transforms import HorizontalFlip, RandomCrop, Transform
from worker.engine.splits import Split

OWN = 1
"""Tells what is drawn here from what a dataset draws for the same batch."""


class Source(Protocol):
    """What batches come from."""

    def next(self) -> Split:
        """The next batch, on the device."""


class Transformed:
    """Batches whose images are changed as the spec says; `done` of them were had before.

    What is drawn for a batch depends on the seed and on its number alone, and is drawn on the CPU:
    a seed means the same images on every device, and wherever a run goes on.
    """

    def __init__(
        self, batches: Source, wanted: Sequence[Transform], *, seed: int, done: int
    ) -> None:
        self._batches = batches
        self._wanted = wanted
        self._seed = seed
        self._number = done
        self._drawn = torch.Generator()

    def next(self) -> Split:
        """The next batch, on the device."""
        batch = self._batches.next()
        seeds = np.random.SeedSequence([self._seed, self._number, OWN])
        self._drawn.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        self._number += 1
        inputs = batch.inputs
        for each in self._wanted:
            inputs = transformed(each, inputs, self._drawn)
        return Split(inputs, batch.labels)


def transformed(wanted: Transform, images: Tensor, drawn: torch.Generator) -> Tensor:
    """Images (examples, channels, height, width), each changed by itself."""
    match wanted:
        case RandomCrop(padding=padding):
            return _moved(images, padding, drawn)
        case HorizontalFlip(probability=probability):
            mirrored = torch.rand(len(images), generator=drawn) < probability
            return torch.where(
                mirrored.to(images.device)[:, None, None, None], images.flip(3), images
            )


def _moved(images: Tensor, padding: int, drawn: torch.Generator) -> Tensor:
    examples, channels, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, examples, 1), generator=drawn).to(images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    padded = functional.pad(images, (padding,) * 4)
    which = torch.arange(examples, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]
