"""Images that are changed at random: what they become, and that a seed and a number decide it."""

from typing import Any

import numpy as np
import pytest
import torch

from spec.jobs import JOB_SPEC
from spec.population import stackable
from spec.transforms import HorizontalFlip, RandomCrop
from tests.worker.engine.checkpoints import assert_same, told
from tests.worker.engine.conftest import TRAINING, Record
from worker.engine import EngineError
from worker.engine.transforms import transformed

BOTH = [{"name": "random_crop", "padding": 1}, {"name": "horizontal_flip"}]
IMAGES = torch.arange(2 * 60 * 5 * 6, dtype=torch.float32).view(60, 2, 5, 6) + 1


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_a_crop_is_the_image_moved_as_a_whole() -> None:
    found = transformed(RandomCrop(name="random_crop", padding=2), IMAGES, drawn())
    padded = torch.nn.functional.pad(IMAGES, (2, 2, 2, 2))
    places = [
        [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(image, whole[:, y : y + 5, x : x + 6])
        ]
        for image, whole in zip(found, padded, strict=True)
    ]
    assert all(len(each) == 1 for each in places)
    assert len({each[0] for each in places}) > 15


def test_a_flip_is_of_some() -> None:
    found = transformed(HorizontalFlip(name="horizontal_flip"), IMAGES, drawn())
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(found, IMAGES, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(found, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 15 < sum(mirrored) < 45
    whole = HorizontalFlip(name="horizontal_flip", probability=1.0)
    assert torch.equal(transformed(whole, IMAGES, drawn()), IMAGES.flip(3))


@pytest.mark.parametrize("changes", [{}, {"loader": {"workers": 0}}])
def test_it_goes_on_to_the_bit(changes: dict[str, Any]) -> None:
    job = TRAINING | {"transforms": BOTH, "evaluate": {"every": {"iterations": 9}}} | changes
    assert_same(told(job, stops=[7, 30]), told(job))


def test_streamed_or_not_the_images_are_the_same(train: Record) -> None:
    resident, streamed = train(transforms=BOTH), train(transforms=BOTH, loader={"workers": 0})
    np.testing.assert_array_equal(resident.column("loss"), streamed.column("loss"))


def test_each_epoch_and_each_seed_has_images_of_its_own(train: Record) -> None:
    still = {"schedule": {"policy": "constant", "lr": 0.0}, "batch_size": 1437}
    job = still | {"length": {"iterations": 3}, "transforms": BOTH}
    losses = train(**job).column("loss")
    assert len(set(losses.tolist())) == 3
    plain = train(**(job | {"transforms": []})).column("loss")
    assert plain == pytest.approx(np.full(3, plain[0]), rel=1e-6)
    assert train(**job, seed=1).column("loss")[0] != losses[0]


def test_only_images_are_transformed(train: Record) -> None:
    data = {"name": "synthetic", "params": {"shape": [8, 1, 1], "examples": 64}}
    with pytest.raises(EngineError, match="/transforms: are of images"):
        train(transforms=BOTH, data=data)


def test_they_train_alone() -> None:
    spec = TRAINING | {"population": True, "transforms": BOTH}
    assert not stackable(JOB_SPEC.validate_python(spec))
