"""Image datasets of torchvision, from files in the data directory."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from worker.engine.sources import Indices, Raw, Rows
from worker.libraries.present import require
from worker.plugins import Shape, within

require("torchvision")

SPLITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **dict.fromkeys(
        ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "CIFAR10", "CIFAR100", "USPS"),
        ({"train": True}, {"train": False}),
    ),
    "OxfordIIITPet": ({"split": "trainval"}, {"split": "test"}),
    **dict.fromkeys(
        ("SVHN", "STL10", "GTSRB", "Flowers102", "DTD"),
        ({"split": "train"}, {"split": "test"}),
    ),
}


class Images:
    """A split of a torchvision dataset as a source; every image in one size."""

    def __init__(self, dataset: Any, size: int | None) -> None:
        self._dataset = dataset
        self._size = size
        self.shape: Shape = self.rows(np.zeros(1, np.int64)).inputs.shape[1:]  # type: ignore[assignment]  # three numbers

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, indices: Indices) -> Rows:
        """These images and their labels."""
        pairs = [self._dataset[int(each)] for each in indices]
        images = [self._sized(image) for image, _ in pairs]
        stacked = np.stack([each if each.ndim > 2 else each[:, :, None] for each in images])  # noqa: PLR2004 - grey ones
        return Rows(
            torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous(),
            torch.tensor([int(label) for _, label in pairs]),
        )

    def _sized(self, image: Any) -> Any:
        return np.array(image if self._size is None else image.resize((self._size, self._size)))


def data(
    data_dir: Path,
    *,
    dataset: Literal[
        "MNIST",
        "FashionMNIST",
        "KMNIST",
        "QMNIST",
        "CIFAR10",
        "CIFAR100",
        "USPS",
        "SVHN",
        "STL10",
        "GTSRB",
        "Flowers102",
        "OxfordIIITPet",
        "DTD",
    ],
    size: Annotated[
        int | None, Field(ge=1, le=4096, description="of a side, in pixels; unset: as it is")
    ] = None,
    download: bool = False,
) -> Raw:
    """A dataset of torchvision, whose files lie in `torchvision` in the data directory."""
    from torchvision import datasets  # noqa: PLC0415 - takes seconds

    root = within(data_dir, "torchvision")
    train, validation = (
        Images(getattr(datasets, dataset)(root=str(root), download=download, **which), size)
        for which in SPLITS[dataset]
    )
    labels = [int(label) for _, label in train._dataset]  # noqa: SLF001 - the class is this module's
    return Raw(train, validation, max(labels) + 1)
