"""The components by themselves; `stepsize plugin check` tries them in a training."""

from pathlib import Path

import torch
from stepsize_example.data import shapes
from stepsize_example.losses import confidence, focal
from stepsize_example.models import small_conv
from torch.nn import functional


def test_the_model_gives_a_score_for_each_class() -> None:
    assert small_conv((1, 16, 16), 3, width=4)(torch.zeros(5, 1, 16, 16)).shape == (5, 3)


def test_the_dataset_has_every_kind(tmp_path: Path) -> None:
    data = shapes(tmp_path, examples=100)
    assert set(data.train[1].tolist()) == {0, 1, 2}
    assert len(data.validation[0]) == 20


def test_without_focus_the_loss_is_cross_entropy() -> None:
    scores, labels = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(
        focal(scores, labels, gamma=0.0), functional.cross_entropy(scores, labels)
    )
    assert 0 < confidence(scores, labels) < 1
