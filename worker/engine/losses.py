"""The losses that models are trained on, and the metrics that they are measured by."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spec.components import ComponentParams
from spec.losses import CrossEntropyParams, MseParams, TopKParams
from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.plugins import PluginParams, made

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Scores (examples, classes) in float32 and labels -> the mean loss."""

Metric = Callable[[Tensor, Tensor], Any]
"""The same -> a number, the mean over the examples."""

CROSS_ENTROPY: Criterion = functional.cross_entropy


def build(params: ComponentParams) -> Criterion:
    """The loss of these parameters."""
    match params:
        case CrossEntropyParams(label_smoothing=0.0):
            return CROSS_ENTROPY
        case CrossEntropyParams():
            return partial(functional.cross_entropy, label_smoothing=params.label_smoothing)
        case MseParams():
            return _mse
        case PluginParams():
            return partial(_offered, params)
    raise TypeError(f"no loss is built from {type(params).__name__}")


def metric(params: ComponentParams) -> Metric:
    """The metric of these parameters."""
    match params:
        case TopKParams():
            return partial(_top_k, k=params.k)
        case PluginParams():
            return partial(_measured, params)
    raise TypeError(f"no metric is built from {type(params).__name__}")


def total(criterion: Criterion, scores: Tensor, labels: Tensor) -> Tensor:
    """The sum of the examples' losses."""
    if criterion is CROSS_ENTROPY:
        return functional.cross_entropy(scores, labels, reduction="sum")
    return criterion(scores, labels) * len(labels)


def _offered(params: PluginParams, scores: Tensor, labels: Tensor) -> Tensor:
    loss = made(params, scores, labels)
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss
    raise _wrong("loss", params, loss, "the mean loss of the batch as a tensor of one number")


def _measured(params: PluginParams, scores: Tensor, labels: Tensor) -> float:
    value = made(params, scores, labels)
    try:
        return float(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise _wrong("metric", params, value, "a number, the mean over the examples") from error


def _wrong(kind: str, params: PluginParams, given: Any, wanted: str) -> EngineError:
    what = f"shape {(*given.shape,)}" if isinstance(given, Tensor) else type(given).__name__
    return EngineError(
        Reason.CODE, f"{kind} {params.component} gives {what}: it must give {wanted}"
    )


def _mse(scores: Tensor, labels: Tensor) -> Tensor:
    truth = functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
    return functional.mse_loss(scores, truth)


def _top_k(scores: Tensor, labels: Tensor, *, k: int) -> Tensor:
    best = torch.topk(scores, min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).double().mean()
