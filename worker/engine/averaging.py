"""The weights that a model is judged by, where its optimizer trains with others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from spec.components import AdamwScheduleFreeParams, SgdScheduleFreeParams
from worker.engine.probe import BATCH_NORM, without_dropout
from worker.engine.recipe import Learner, Recipe

SETTLING = 50
"""Batches that batch norm's averages are measured on."""


@contextmanager
def averaged(learner: Learner, recipe: Recipe) -> Iterator[None]:
    """Give the model the weights that it is judged by, and then back those that it trains with.

    Schedule-free optimizers are judged by an average of their iterates, for which batch norm's
    averages have to be measured anew. All others train what they are judged by.
    """
    if not isinstance(recipe.optimizer, SgdScheduleFreeParams | AdamwScheduleFreeParams):
        yield
        return
    model, optimizer = learner.model, learner.optimizer
    training = {name: each.clone() for name, each in model.state_dict().items()}
    optimizer.eval()  # type: ignore[attr-defined]  # torch's own optimizers have no modes
    _settle(model, recipe)
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]  # as above
        model.load_state_dict(training)  # to the bit, which the optimizer's way back is not


@torch.no_grad()
def _settle(model: nn.Module, recipe: Recipe) -> None:
    """Give batch norm the mean statistics of the first batches of the training split."""
    norms = [each for each in model.modules() if isinstance(each, BATCH_NORM)]
    if not norms:
        return
    momenta = [each.momentum for each in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: the mean of all
    whole = min(SETTLING, recipe.iterations_per_epoch)
    with without_dropout(model):
        for batch in recipe.dataset.train.in_order(recipe.batch_size, most=whole):
            with recipe.numerics.autocast():
                model(batch.inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
