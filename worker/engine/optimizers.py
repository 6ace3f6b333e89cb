"""The built-in optimizers, and how a schedule's momentum reaches each."""

import sys
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from spec.components import AdamParams, AdamwParams, ComponentParams, RmspropParams, SgdParams

# SGD and RMSprop stop updating the velocity while momentum is exactly 0, as it may be at the peak
# of a cycle, and go on later from a stale one. This is 0 in single precision, and yet not False.
ZERO = sys.float_info.min


def build(params: ComponentParams, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer with its own momentum; its learning rate is for the loop to set."""
    match params:
        case SgdParams():
            return torch.optim.SGD(parameters, lr=0.0, fused=True, **params.model_dump())
        case AdamwParams():
            return torch.optim.AdamW(parameters, lr=0.0, fused=True, **params.model_dump())
        case AdamParams():
            return torch.optim.Adam(parameters, lr=0.0, fused=True, **params.model_dump())
        case RmspropParams():
            return torch.optim.RMSprop(parameters, lr=0.0, **params.model_dump())
    raise TypeError(f"no optimizer is built from {type(params).__name__}")


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Write a cycled momentum into a parameter group; in the Adam family it is beta1."""
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    else:
        group["momentum"] = momentum or ZERO


def state_copies(params: ComponentParams) -> int:
    """How many numbers the optimizer keeps for each parameter with its own momentum."""
    match params:
        case AdamParams():
            return 2 + params.amsgrad
        case RmspropParams():
            return 1 + params.centered + (params.momentum > 0)
        case SgdParams():
            return int(params.momentum > 0)
    raise TypeError(f"no optimizer is built from {type(params).__name__}")


def family(params: ComponentParams) -> Literal["sgd", "adam"]:
    """Which rule of thumb turns a range test of this optimizer into a suggestion."""
    return "sgd" if isinstance(params, SgdParams) else "adam"
