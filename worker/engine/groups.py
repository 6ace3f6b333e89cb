"""Parameter groups: learning rates that differ from layer to layer."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from spec.groups import LrGroups
from spec.states import Reason
from worker.engine.errors import EngineError

SHOWN = 6


def groups(model: nn.Module, wanted: LrGroups) -> list[dict[str, Any]]:
    """The model's parameters as an optimizer takes them, a group for each `factor`.

    Raises:
        EngineError: INVALID, a pattern matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in wanted.multipliers:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(names[:SHOWN] + ["..."] * (len(names) > SHOWN))
            raise EngineError(
                Reason.INVALID,
                f"/lr_groups/multipliers: '{pattern}' matches no parameter of the model: {some}",
            )
    found: dict[float, list[nn.Parameter]] = {}
    for name, parameter, depth in _by_depth(model):
        matching = (x for pattern, x in wanted.multipliers.items() if fnmatchcase(name, pattern))
        factor = next(matching, 1.0) * wanted.layer_decay**-depth
        found.setdefault(factor, []).append(parameter)
    return [{"params": each, "factor": factor} for factor, each in found.items()]


def _by_depth(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, int]]:
    """Name, parameter, and how many layers with parameters lie between it and the output."""
    layers = [each for each in model.named_children() if any(True for _ in each[1].parameters())]
    for depth, (layer, module) in zip(reversed(range(len(layers))), layers, strict=True):
        for name, parameter in module.named_parameters(layer):
            yield name, parameter, depth
