"""Up to which learning rate an optimizer is stable where the loss is curved by so much."""

import math

import torch
from torch import Tensor

from spec.components import AdamParams, ComponentParams, SgdParams
from worker.engine.curvature import largest_eigenvalue
from worker.engine.losses import CROSS_ENTROPY, Criterion
from worker.engine.probe import undisturbed
from worker.engine.recipe import Learner
from worker.engine.splits import Split


def stability_limit(
    learner: Learner,
    params: ComponentParams,
    batch: Split,
    *,
    seed: int,
    criterion: Criterion = CROSS_ENTROPY,
) -> float | None:
    """The rate past which the optimizer oscillates ever more on a quadratic of this curvature.

    With momentum b and the largest eigenvalue L of the Hessian of the batch's loss: heavy ball,
    `2(1+b)/L`; Nesterov, `2(1+b)/((1+2b)L)`; the Adam family, `2(1+b1)/((1-b1)L)` where L is that
    of the preconditioned Hessian (Cohen et al., arXiv 2103.00065 and 2207.14484). A parameter
    whose rate has a factor counts with this factor.

    None for an optimizer without a known limit, or before its first update; infinite where the
    loss is nowhere convex; NaN where it has no finite second derivatives.
    """
    factor = _factor(params)
    scales = None if factor is None else _scales(learner, batch, criterion)
    if factor is None or scales is None:
        return None
    largest = largest_eigenvalue(
        learner.model, batch.inputs, batch.labels, seed=seed, criterion=criterion, scales=scales
    )
    return math.inf if largest <= 0 else factor / largest


def _factor(params: ComponentParams) -> float | None:
    match params:
        case SgdParams(momentum=b, nesterov=True):
            return 2 * (1 + b) / (1 + 2 * b)
        case SgdParams(momentum=b):
            return 2 * (1 + b)
        case AdamParams(betas=(b, _)):
            return 2 * (1 + b) / (1 - b)
    return None


def _scales(learner: Learner, batch: Split, criterion: Criterion) -> list[Tensor] | None:
    """For each parameter the root of its rate's factor over Adam's divisor, as the model has them.

    The divisor is that of an update with the batch: a weight whose gradient was zero so far, as
    that of a pixel that no image had, would otherwise seem to take steps without bounds.

    None while the optimizer has no averages.
    """
    weights = [each for each in learner.model.parameters() if each.requires_grad]
    with undisturbed(learner.model), torch.enable_grad():
        loss = criterion(learner.model(batch.inputs).float(), batch.labels)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    found: dict[Tensor, Tensor] = {}
    gradient = dict(zip(weights, gradients, strict=True))
    for group in learner.optimizer.param_groups:
        for each in group["params"]:
            divisor = torch.ones_like(each)
            if "betas" in group:
                state, decay = learner.optimizer.state.get(each), group["betas"][1]
                if not state:
                    return None
                square = decay * state["exp_avg_sq"] + (1 - decay) * gradient[each] ** 2
                if group["amsgrad"]:
                    square = torch.maximum(square, state["max_exp_avg_sq"])
                correction = 1 - decay ** (float(state["step"]) + 1)
                divisor = (square / correction).sqrt() + group["eps"]
            found[each] = (group["factor"] / divisor).sqrt()
    return [found[each] for each in weights]
