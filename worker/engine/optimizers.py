"""The built-in optimizers, and how a schedule's rate and momentum reach each."""

import math
import sys
from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal

import torch
from torch import nn

from spec.components import (
    AdamParams,
    AdamwParams,
    AdamwScheduleFreeParams,
    ComponentParams,
    ProdigyParams,
    RmspropParams,
    SgdParams,
    SgdScheduleFreeParams,
)
from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.plugins import PluginParams, made

# SGD and RMSprop stop updating the velocity while momentum is exactly 0, as it may be at the peak
# of a cycle, and go on later from a stale one. This is 0 in single precision, and yet not False.
ZERO = sys.float_info.min


def build(
    params: ComponentParams, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """The optimizer with its own momentum; its learning rate is for the loop to set.

    `parameters`, or groups of them, each with the `factor` of its learning rate.
    """
    if isinstance(params, PluginParams):
        optimizer = _offered(params, parameters)
    else:
        optimizer = _built(params, parameters)
    for group in optimizer.param_groups:
        group.setdefault("factor", 1.0)
    return optimizer


def _built(params: ComponentParams, parameters: Iterable[Any]) -> torch.optim.Optimizer:
    match params:
        case SgdParams():
            return torch.optim.SGD(parameters, lr=0.0, fused=True, **params.model_dump())
        case AdamwParams():
            return torch.optim.AdamW(parameters, lr=0.0, fused=True, **params.model_dump())
        case AdamParams():
            return torch.optim.Adam(parameters, lr=0.0, fused=True, **params.model_dump())
        case RmspropParams():
            return torch.optim.RMSprop(parameters, lr=0.0, **params.model_dump())
        case SgdScheduleFreeParams() | AdamwScheduleFreeParams():
            return _schedule_free(params, parameters)
        case ProdigyParams():
            return _prodigy(params, parameters)
    raise TypeError(f"no optimizer is built from {type(params).__name__}")


def _schedule_free(
    params: SgdScheduleFreeParams | AdamwScheduleFreeParams, parameters: Iterable[Any]
) -> torch.optim.Optimizer:
    import schedulefree  # noqa: PLC0415 - only these optimizers need it

    sgd = isinstance(params, SgdScheduleFreeParams)
    kind = schedulefree.SGDScheduleFree if sgd else schedulefree.AdamWScheduleFree
    optimizer: torch.optim.Optimizer = kind(parameters, lr=0.0, **params.model_dump())
    optimizer.train()  # type: ignore[attr-defined]  # torch's own optimizers have no modes
    return optimizer


def _prodigy(params: ProdigyParams, parameters: Iterable[Any]) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy  # noqa: PLC0415 - only this optimizer needs it

    values = params.model_dump()
    values["growth_rate"] = params.growth_rate or math.inf
    decay = values.pop("weight_decay")  # given at once, it would be announced on the console
    optimizer: torch.optim.Optimizer = Prodigy(parameters, lr=1.0, **values)
    for group in optimizer.param_groups:
        group["weight_decay"] = decay
    # at rate 0 it would still let weights decay, and move them where the first beta is 0
    frozen = [group for group in optimizer.param_groups if not group.get("factor", 1.0)]
    if len(frozen) < len(optimizer.param_groups):
        for parameter in chain.from_iterable(group["params"] for group in frozen):
            parameter.requires_grad_(False)
    return optimizer


def _offered(params: PluginParams, parameters: Iterable[Any]) -> torch.optim.Optimizer:
    optimizer = made(params, parameters, 1.0)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise EngineError(
            Reason.CODE,
            f"optimizer {params.component} is a {type(optimizer).__name__}, no"
            " torch.optim.Optimizer",
        )
    return optimizer


def is_fused(params: ComponentParams) -> bool:
    """Whether an update is one kernel, which can read its rate from the device."""
    return isinstance(params, SgdParams | AdamParams)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Write the schedule's rate into every parameter group, times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def set_momentum(optimizer: torch.optim.Optimizer, momentum: float) -> None:
    """Write a cycled momentum into every parameter group; in the Adam family it is beta1."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif "momentum" in group:
            group["momentum"] = momentum or ZERO
        else:
            raise EngineError(
                Reason.INVALID,
                "/schedule: its momentum changes, and the optimizer has none: set both momenta to"
                " null",
            )


def state_copies(params: ComponentParams) -> int:
    """How many numbers the optimizer keeps for each parameter with its own momentum."""
    match params:
        case AdamParams():
            return 2 + params.amsgrad
        case RmspropParams():
            return 1 + params.centered + (params.momentum > 0)
        case SgdParams():
            return int(params.momentum > 0)
        case SgdScheduleFreeParams():
            return 1
        case AdamwScheduleFreeParams() | PluginParams():  # nobody knows before its first update
            return 2
        case ProdigyParams():
            return 3 + (params.betas[0] > 0)
    raise TypeError(f"no optimizer is built from {type(params).__name__}")


def complete(optimizer: torch.optim.Optimizer) -> None:
    """Add to a state that was kept with other parameters what an update needs: it begins at zero.

    Torch makes all of a parameter's state at its first update, and looks for it from then on.
    """
    for group in optimizer.param_groups:
        missing = [
            name
            for name, needed in (
                ("max_exp_avg_sq", group.get("amsgrad")),
                ("grad_avg", group.get("centered")),
                # a cycled momentum is not known here
                ("momentum_buffer", isinstance(optimizer, torch.optim.RMSprop)),
                ("exp_avg", "d0" in group),
            )
            if needed
        ]
        for each in group["params"]:
            if state := optimizer.state.get(each):
                for name in missing:
                    state.setdefault(name, torch.zeros_like(each))


def family(params: ComponentParams) -> Literal["sgd", "adam"]:
    """Which rule of thumb turns a range test of this optimizer into a suggestion."""
    return "sgd" if isinstance(params, SgdParams | SgdScheduleFreeParams) else "adam"
