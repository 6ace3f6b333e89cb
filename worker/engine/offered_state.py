"""The state of a plug-in's optimizer, as the optimizer itself tells and takes it."""

import torch
from torch import Tensor

from worker.engine.errors import UnfitError
from worker.engine.events import State
from worker.engine.plugins import PluginParams


def offered_state(optimizer: torch.optim.Optimizer, params: PluginParams) -> State:
    """What its `state_dict` says, and the parameters that it was made with."""
    return {
        "name": params.component,
        "params": params.model_dump(mode="json"),
        "own": optimizer.state_dict(),
    }


def load_offered(optimizer: torch.optim.Optimizer, params: PluginParams, state: State) -> None:
    """Put a fresh optimizer into that state, to the bit.

    Raises:
        UnfitError: the state is of another optimizer, or of one with other parameters, which
            nothing here can tell from what the optimizer has come to by itself.
    """
    if "own" not in state or state["name"] != params.component:
        raise UnfitError(f"the optimizer is {state['name']} there, and {params.component} here")
    mine = params.model_dump(mode="json")
    if state["params"] != mine:
        raise UnfitError(
            f"the optimizer {params.component} has parameters {state['params']} there, and {mine}"
            " here: those of a plug-in's cannot be changed on the way"
        )
    optimizer.load_state_dict(state["own"])
    if type(optimizer).load_state_dict is torch.optim.Optimizer.load_state_dict:
        _exactly(optimizer, state["own"])


def _exactly(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Undo torch's conversion of all numbers to the type of the parameter that they belong to."""
    kept = [each for group in state["param_groups"] for each in group["params"]]
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for number, parameter in zip(kept, parameters, strict=True):
        own = optimizer.state[parameter] if number in state["state"] else {}
        for name, value in state["state"].get(number, {}).items():
            if isinstance(value, Tensor) and value.dtype != own[name].dtype:
                own[name] = value.to(own[name].device, copy=True)
