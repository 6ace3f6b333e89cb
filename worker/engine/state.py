"""A learner as tensors and plain values, and back again: the heart of a checkpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.events import Checkpoint, State
from worker.engine.recipe import Learner, Recipe
from worker.engine.streams import shuffled

VERSION = 1
"""Of the layout of a checkpoint's state."""

MAINTAINED = (
    *("k", "weight_sum", "lr_max", "train_mode"),  # schedule-free
    *("d", "d_max", "d_numerator", "d_denom", "d_hat"),  # Prodigy
)
"""What optimizers keep in their parameter groups beside what they are told."""


class UnfitError(ValueError):
    """A state does not belong to what it is loaded into."""


@contextmanager
def fitting(whose: str) -> Iterator[None]:
    """Turn what is wrong with a state that the block loads into EngineError INVALID."""
    try:
        yield
    except UnfitError as error:
        raise EngineError(Reason.INVALID, f"{whose} does not fit: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise EngineError(
            Reason.INVALID, f"{whose} is incomplete or of another job ({what})"
        ) from error


def stamped(checkpoint: Checkpoint, *, seconds: float, device: torch.device) -> Checkpoint:
    """The checkpoint with what does not depend on the kind of job."""
    rng = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        rng["cuda"] = torch.cuda.get_rng_state(device)
    common = {"version": VERSION, "seconds": seconds, "rng": rng}
    return replace(checkpoint, state=common | checkpoint.state)


def require_version(state: State) -> None:
    """Raise INVALID for a state that this version of the engine cannot read."""
    found = state.get("version")
    if found != VERSION:
        raise EngineError(
            Reason.INVALID,
            f"the checkpoint has layout {found}, and this worker reads {VERSION}: let a worker of"
            " the version that wrote it go on, or run the job anew",
        )


def restore_rng(state: State, device: torch.device) -> None:
    """Set torch's global streams of random numbers to where they were."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def learner_state(learner: Learner, recipe: Recipe, *, done: int) -> State:
    """The state of a learner that has made so many updates; its tensors are the live ones."""
    names: dict[Tensor, str] = {each: name for name, each in learner.model.named_parameters()}
    optimizer = learner.optimizer
    return {
        "model": dict(learner.model.state_dict()),
        "optimizer": {
            "name": recipe.optimizer.component,
            "state": {names[each]: dict(kept) for each, kept in optimizer.state.items() if kept},
            "groups": [
                {name: group[name] for name in MAINTAINED if name in group}
                for group in optimizer.param_groups
            ],
        },
        "order": {"seed": learner.order, "done": done},
        "dropout": dropout_state(learner.masks),
    }


def dropout_state(masks: torch.Generator) -> State:
    """Where the stream is; its numbers belong to a kind of device."""
    return {"device": masks.device.type, "stream": masks.get_state()}


def loaded(learner: Learner, recipe: Recipe, state: State) -> Learner:
    """A fresh learner of the recipe, put into that state and to be used from now on.

    The stream of dropout begins anew on another kind of device.

    Raises:
        UnfitError: the state is of another model or optimizer.
    """
    if recipe.team is not None:
        recipe.team.load(state)
    _load_model(learner.model, state["model"])
    _load_optimizer(learner, recipe.optimizer.component, state["optimizer"])
    if state["dropout"]["device"] == learner.masks.device.type:
        learner.masks.set_state(state["dropout"]["stream"])
    seed, done = state["order"]["seed"], state["order"]["done"]
    shuffle = torch.Generator().manual_seed(seed)
    batches = shuffled(
        recipe.dataset.train,
        recipe.batch_size,
        shuffle,
        done=done,
        rank=recipe.rank,
        parts=recipe.accumulation,
    )
    return replace(learner, batches=batches, order=seed)


def _load_model(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    mine = model.state_dict()
    for name in sorted({*mine, *state}):
        here, there = (tuple(each[name].shape) if name in each else None for each in (mine, state))
        if here != there:
            raise UnfitError(f"the model's {name} is of shape {there} there, and {here} here")
    model.load_state_dict(state)


def _load_optimizer(learner: Learner, name: str, state: State) -> None:
    """Load in place: what makes updates holds on to the optimizer's own groups."""
    optimizer, groups = learner.optimizer, learner.optimizer.param_groups
    if state["name"] != name:
        raise UnfitError(f"the optimizer is {state['name']} there, and {name} here")
    if any(state["groups"]) and len(state["groups"]) != len(groups):
        raise UnfitError(
            f"{name} has {len(state['groups'])} groups of parameters there, and {len(groups)} here"
        )
    for group, kept in zip(groups, state["groups"], strict=False):
        group.update(kept)
    fused = bool(optimizer.defaults.get("fused"))
    parameters = dict(learner.model.named_parameters())
    for which, kept in state["state"].items():
        parameter = parameters[which]
        optimizer.state[parameter] = {
            key: _placed(value, parameter, on_cpu=key == "step" and not fused)
            for key, value in kept.items()
        }


def _placed(value: Any, parameter: Tensor, *, on_cpu: bool) -> Any:
    """A copy beside the parameter, and laid out in memory as it is: fused kernels go by that.

    `on_cpu`: where torch counts the updates of an optimizer that is not fused.
    """
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value.to("cpu" if on_cpu else parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
