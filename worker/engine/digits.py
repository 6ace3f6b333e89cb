"""scikit-learn's handwritten digits, in a split that never changes."""

import numpy as np
import torch

from worker.engine.splits import Dataset, Split

TRAINING_EXAMPLES = 1437


def read() -> Dataset:
    """1,437 and 360 images of 8 x 8 pixels with values from 0 to 16."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only this dataset needs scikit-learn

    digits = load_digits()
    # the legacy generator: numpy has frozen its stream, and may change that of the new ones
    order = np.random.RandomState(0).permutation(len(digits.target))
    inputs = torch.from_numpy(digits.images[order]).unsqueeze(1)
    labels = torch.from_numpy(digits.target[order])
    return Dataset(
        Split(inputs[:TRAINING_EXAMPLES], labels[:TRAINING_EXAMPLES]),
        Split(inputs[TRAINING_EXAMPLES:], labels[TRAINING_EXAMPLES:]),
        classes=len(digits.target_names),
    )
