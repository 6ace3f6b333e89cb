"""The loss and the metric of the example."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor


def focal(
    scores: Tensor,
    labels: Tensor,
    *,
    gamma: Annotated[float, Field(ge=0, le=10, description="0: cross-entropy")] = 2.0,
) -> Tensor:
    """The focal loss: what the model is sure of counts less (arXiv 1708.02002)."""
    log_p = scores.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def confidence(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean probability that the model gives to the truth."""
    return torch.softmax(scores, 1).gather(1, labels[:, None]).mean()
