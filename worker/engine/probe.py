"""Looking at a model in the middle of its training without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from worker.engine.device import Numerics
from worker.engine.losses import CROSS_ENTROPY, Criterion
from worker.engine.models import Dropout, is_from_plugin

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

DROPOUT = (
    *(Dropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Let a model in training mode compute the loss that training sees, and be as it was after.

    Batch norm goes by the statistics of the batch, as it does in training, and does not average
    them in: after few updates, or large ones, the averages are far from any batch. Dropout, which
    draws random numbers, is off. What else a plug-in's model keeps or draws is put back.
    """
    norms = [each for each in model.modules() if isinstance(each, BATCH_NORM)]
    tracked = [each.track_running_stats for each in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        with without_dropout(model), _put_back(model) if is_from_plugin(model) else nullcontext():
            yield
    finally:
        for norm, was in zip(norms, tracked, strict=True):
            norm.track_running_stats = was


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Let every input through, and leave the stream that the masks are drawn from."""
    dropouts = [each for each in model.modules() if isinstance(each, DROPOUT)]
    try:
        for dropout in dropouts:
            dropout.training = False
        yield
    finally:
        for dropout in dropouts:
            dropout.training = model.training


@contextmanager
def _put_back(model: nn.Module) -> Iterator[None]:
    """Let the model work with copies of its buffers, and torch's streams be as they were after.

    The buffers themselves are not written to: a graph may still need the copies.
    """
    owners = [
        (module, name, each)
        for module in model.modules()
        for name, each in module.named_buffers(recurse=False)
    ]
    devices = {each.device for each in model.parameters() if each.device.type == "cuda"}
    try:
        for module, name, each in owners:
            setattr(module, name, each.clone())
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, name, each in owners:
            setattr(module, name, each)


@torch.no_grad()
def probe_loss(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    numerics: Numerics,
    criterion: Criterion = CROSS_ENTROPY,
) -> Tensor:
    """The loss of a model in training mode on one batch, on the device."""
    with undisturbed(model), numerics.autocast():
        scores = model(inputs)
    return criterion(scores.float(), labels)
