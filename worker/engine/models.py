"""The built-in models, from the shape of an example to a module that gives a score per class."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spec.components import ComponentParams, LenetParams, MlpParams, ResnetParams
from worker.engine.ranks import ONLY

Shape = tuple[int, int, int]
"""Channels, height and width of an example."""

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(params: ComponentParams, shape: Shape, classes: int) -> nn.Module:
    """The model with weights drawn from torch's global stream."""
    match params:
        case MlpParams():
            return mlp(params, shape, classes)
        case LenetParams():
            return lenet(params, shape, classes)
        case ResnetParams():
            return resnet(params, shape, classes)
    raise TypeError(f"no model is built from {type(params).__name__}")


class Dropout(nn.Module):
    """Dropout that draws from a stream of its own, so that nothing else shifts its masks."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None
        self.rank = ONLY

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `p` of the inputs and scale up the others; all of them as is in eval."""
        if not self.training:
            return x
        # drawn for the inputs of all processes, so that the stream is in the same place in each
        whole = (
            torch.empty_like(x)
            if self.rank.alone
            else x.new_empty(self.rank.count * len(x), *x.shape[1:])
        )
        mask = self.rank.piece(whole.bernoulli_(1 - self.p, generator=self.generator))
        return x * mask.div_(1 - self.p)


def mlp(params: MlpParams, shape: Shape, classes: int) -> nn.Sequential:
    """Dense layers on the flattened example."""
    channels, height, width = shape
    features = channels * height * width
    layers: list[nn.Module] = [nn.Flatten()]
    for units in params.hidden:
        layers += [nn.Linear(features, units), ACTIVATIONS[params.activation]()]
        if params.dropout:
            layers.append(Dropout(params.dropout))
        features = units
    return nn.Sequential(*layers, nn.Linear(features, classes))


def lenet(params: LenetParams, shape: Shape, classes: int) -> nn.Sequential:
    """Caffe's LeNet: 5 x 5 convolutions, each followed by 2 x 2 pooling that keeps the last row.

    Without padding, 13 pixels are the shortest side; smaller images keep their size by padding.
    """
    channels, height, width = shape
    padding = 0 if min(height, width) >= 13 else 2  # noqa: PLR2004 - 13 -> 9 -> 5 -> 1
    first, second = params.channels
    for _ in range(2):
        height, width = ((side - 4 + 2 * padding + 1) // 2 for side in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, first, 5, padding=padding),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(first, second, 5, padding=padding),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(second * height * width, params.hidden),
        nn.ReLU(),
        nn.Linear(params.hidden, classes),
    )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters (option A of the paper)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = width - channels
        self.conv1 = _conv(channels, width, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 1)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Where the size changes, the shortcut skips pixels and adds channels of zeros."""
        out = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1 or self.extra:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return functional.relu(out + x)


class GlobalAverage(nn.Module):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, channels)."""
        return x.mean((2, 3))


def resnet(params: ResnetParams, shape: Shape, classes: int) -> nn.Sequential:
    """Three stages of residual blocks, each after the first halving the image (section 4.2)."""
    channels = params.width
    layers: list[nn.Module] = [_conv(shape[0], channels, 1), nn.BatchNorm2d(channels), nn.ReLU()]
    for stage in range(3):
        for block in range((params.depth - 2) // 6):
            width = params.width * 2**stage
            layers.append(ResidualBlock(channels, width, stride=2 if stage and not block else 1))
            channels = width
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, classes))


def _conv(channels: int, width: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    if not conv.weight.is_meta:  # there are no values to draw there, and torch would take a second
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
