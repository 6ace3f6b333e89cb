"""The dataset of the example."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from worker.plugins import Arrays

SIDE = 16
KINDS = ("square", "disc", "cross")


def shapes(
    data_dir: Path,  # noqa: ARG001 - every dataset is given it; this one is drawn
    *,
    examples: Annotated[int, Field(ge=20, le=1_000_000)] = 2000,
    noise: Annotated[float, Field(ge=0, le=10, description="spread of the grain")] = 0.3,
    seed: int = 0,
) -> Arrays:
    """Images of squares, discs and crosses, 16 x 16 pixels; a fifth of them to validate."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(KINDS), examples)
    radii = random.integers(3, 6, examples)
    centres = random.integers(6, SIDE - 6, (examples, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images = random.normal(0, noise, (examples, 1, SIDE, SIDE)).astype(np.float32)
    for image, label, radius, (y, x) in zip(images, labels, radii, centres, strict=True):
        down, right = abs(rows - y), abs(columns - x)
        image[0] += {
            "square": np.maximum(down, right) <= radius,
            "disc": down**2 + right**2 <= radius**2,
            "cross": (np.minimum(down, right) == 0) & (np.maximum(down, right) <= radius),
        }[KINDS[label]]
    cut = examples // 5
    return Arrays(
        train=(images[cut:], labels[cut:]),
        validation=(images[:cut], labels[:cut]),
        classes=len(KINDS),
    )
