"""Looking at a model in the middle of its training without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.device import Numerics
from worker.engine.models import Dropout

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Let a model in training mode compute the loss that training sees, and be as it was after.

    Batch norm goes by the statistics of the batch, as it does in training, and does not average
    them in: after few updates, or large ones, the averages are far from any batch. Dropout, which
    draws random numbers, is off.
    """
    norms = [each for each in model.modules() if isinstance(each, BATCH_NORM)]
    tracked = [each.track_running_stats for each in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        with without_dropout(model):
            yield
    finally:
        for norm, was in zip(norms, tracked, strict=True):
            norm.track_running_stats = was


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Let every input through, and leave the stream that the masks are drawn from."""
    dropouts = [each for each in model.modules() if isinstance(each, Dropout)]
    try:
        for dropout in dropouts:
            dropout.training = False
        yield
    finally:
        for dropout in dropouts:
            dropout.training = model.training


@torch.no_grad()
def probe_loss(model: nn.Module, inputs: Tensor, labels: Tensor, numerics: Numerics) -> Tensor:
    """The loss of a model in training mode on one batch, on the device."""
    with undisturbed(model), numerics.autocast():
        scores = model(inputs)
    return functional.cross_entropy(scores.float(), labels)
