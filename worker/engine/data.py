"""The built-in datasets, loaded once and kept for the jobs that follow."""

from functools import lru_cache
from pathlib import Path

import torch

from spec.components import (
    Cifar10Params,
    ComponentParams,
    DigitsParams,
    FashionMnistParams,
    MnistParams,
    SyntheticParams,
)
from worker.engine import cifar, digits, idx, synthetic
from worker.engine.files import Shelf
from worker.engine.splits import Dataset, prepared


@lru_cache(maxsize=2)
def load(params: ComponentParams, *, device: torch.device, data_dir: Path) -> Dataset:
    """The standardised dataset on `device`; raises INVALID when its files cannot be had."""
    return prepared(_read(params, data_dir), device)


def _read(params: ComponentParams, data_dir: Path) -> Dataset:
    match params:
        case DigitsParams():
            return digits.read()
        case FashionMnistParams():
            return idx.read(Shelf.of(idx.FASHION_MNIST, data_dir))
        case MnistParams():
            return idx.read(Shelf.of(idx.MNIST, data_dir))
        case Cifar10Params():
            return cifar.read(Shelf.of(cifar.CIFAR10, data_dir))
        case SyntheticParams():
            return synthetic.make(params)
    raise TypeError(f"no dataset is made from {type(params).__name__}")
