"""Gaussian clusters made from a seed."""

import math

import torch

from spec.components import SyntheticParams
from worker.engine.memory import require
from worker.engine.splits import Dataset, Split

CPU = torch.device("cpu")


def make(params: SyntheticParams) -> Dataset:
    """A standard normal centre a class, examples around it; the last fifth is for validation."""
    numbers = (2 * params.examples + params.classes) * math.prod(params.shape)
    require(4 * numbers, f"synthetic data of {params.examples} examples", CPU)
    random = torch.Generator().manual_seed(params.seed)
    centres = torch.randn(params.classes, *params.shape, generator=random)
    labels = torch.randint(params.classes, (params.examples,), generator=random)
    inputs = torch.randn(params.examples, *params.shape, generator=random)
    inputs.mul_(params.noise).add_(centres[labels])
    training = params.examples - max(1, params.examples // 5)
    return Dataset(
        Split(inputs[:training], labels[:training]),
        Split(inputs[training:], labels[training:]),
        params.classes,
    )
