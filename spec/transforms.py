"""What may be done to the images of a batch before they are trained on."""

from typing import Annotated, Literal

from pydantic import Field

from schedules.values import Value


class RandomCrop(Value):
    """The image moved by up to `padding` pixels each way; zeros, the mean, move in."""

    name: Literal["random_crop"]
    padding: Annotated[int, Field(strict=True, ge=1, le=1024)] = 4


class HorizontalFlip(Value):
    """The image or its mirror image."""

    name: Literal["horizontal_flip"]
    probability: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.5


Transform = Annotated[RandomCrop | HorizontalFlip, Field(discriminator="name")]
