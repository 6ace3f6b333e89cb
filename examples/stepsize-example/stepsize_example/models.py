"""The model of the example."""

from typing import Annotated

from pydantic import Field
from torch import nn

from worker.plugins import Shape


def small_conv(
    shape: Shape,
    classes: int,
    *,
    width: Annotated[int, Field(ge=1, le=1024, description="channels of the first layer")] = 16,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Two convolutions with batch norm, the mean over the image, dropout, one dense layer."""
    return nn.Sequential(
        nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, classes),
    )
