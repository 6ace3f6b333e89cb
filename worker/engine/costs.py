"""What an update of a model costs in memory and arithmetic, found before any is spent on it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from spec.components import ComponentParams
from spec.groups import LrGroups
from spec.states import Reason
from worker.engine import memory, models
from worker.engine.errors import EngineError
from worker.engine.groups import groups
from worker.engine.models import Shape
from worker.engine.plugins import PluginParams
from worker.engine.probe import BATCH_NORM

FEW = 2
"""Examples that a model is tried with which cannot be without values: batch norm needs two."""


@dataclass(frozen=True)
class Costs:
    """Of one run.

    Attributes:
        weights: bytes of its parameters.
        activations: bytes that a forward pass keeps.
        operations: floating-point ones of a forward pass.
        widest: numbers in the largest matrix that it multiplies with.
        batch_norm: whether a batch's statistics take part.
    """

    weights: int
    activations: int
    operations: int
    widest: int
    batch_norm: bool


def estimate(
    params: ComponentParams,
    shape: Shape,
    classes: int,
    *,
    batch: int,
    lr_groups: LrGroups | None,
    enough: Callable[[int], None],
) -> Costs:
    """The costs of a model at a batch of so many examples.

    `enough` is told the bytes of the parameters before anything is computed, and may raise. On the
    meta device nothing takes any memory. The code of a plug-in may need values there, and is then
    run on the CPU, with few examples.
    """

    def on(device: str, examples: int) -> Costs:
        with torch.device(device):
            model = models.build(params, shape, classes)
            if lr_groups is not None:
                groups(model, lr_groups)  # only to see that every pattern names something
            enough(memory.weights(model))
            return _costs(params, model, torch.zeros(examples, *shape), classes)

    if not isinstance(params, PluginParams):
        return on("meta", batch)
    try:
        return on("meta", batch)
    except EngineError:
        raise
    except Exception:  # noqa: BLE001 - what it is shows where it has values
        few = min(batch, FEW)
        with torch.random.fork_rng(devices=[]):
            found = on("cpu", few)
        return replace(
            found,
            activations=found.activations * batch // few,
            operations=found.operations * batch // few,
        )


def _costs(params: ComponentParams, model: nn.Module, inputs: Tensor, classes: int) -> Costs:
    if isinstance(params, PluginParams):
        _require_scores(params, model, inputs, classes)
    layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
    return Costs(
        memory.weights(model),
        memory.activations(model, inputs),
        memory.operations(model, inputs),
        max((each.weight.numel() for each in layers), default=0),
        any(isinstance(each, BATCH_NORM) for each in model.modules()),
    )


def _require_scores(params: PluginParams, model: nn.Module, inputs: Tensor, classes: int) -> None:
    scores = model(inputs)
    if isinstance(scores, Tensor) and scores.shape == (len(inputs), classes):
        return
    what = f"shape {(*scores.shape,)}" if isinstance(scores, Tensor) else type(scores).__name__
    raise EngineError(
        Reason.CODE,
        f"model {params.component} gives {what} for inputs of shape {(*inputs.shape,)}: it must"
        f" give a score for each class, {(len(inputs), classes)}",
    )
