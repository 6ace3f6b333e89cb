"""A dataset as tensors: what the readers make and the loop indexes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.models import Shape


@dataclass(frozen=True)
class Split:
    """Inputs (examples, channels, height, width) and int64 labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: Tensor) -> "Split":
        """The examples of these indices, copied."""
        return Split(self.inputs.index_select(0, indices), self.labels.index_select(0, indices))

    def between(self, start: int, stop: int) -> "Split":
        """A view of consecutive examples."""
        return Split(self.inputs[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class Dataset:
    """A training and a validation split of labelled images."""

    train: Split
    validation: Split
    classes: int

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        channels, height, width = self.train.inputs.shape[1:]
        return channels, height, width


def prepared(raw: Dataset, device: torch.device) -> Dataset:
    """The dataset on `device`, in float32, each channel standardised over the training split."""
    train = raw.train.inputs.to(torch.float32, copy=True)
    std, mean = torch.std_mean(train, dim=(0, 2, 3), correction=0, keepdim=True)
    std[std == 0] = 1  # a constant channel becomes 0, not NaN

    def split(inputs: Tensor, labels: Tensor) -> Split:
        return Split(inputs.sub_(mean).div_(std).to(device), labels.to(torch.int64).to(device))

    validation = raw.validation.inputs.to(torch.float32, copy=True)
    return Dataset(
        split(train, raw.train.labels), split(validation, raw.validation.labels), raw.classes
    )
