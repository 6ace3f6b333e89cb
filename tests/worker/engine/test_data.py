"""Datasets come standardised, split the same way every time, and stay loaded."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spec.components import DigitsParams, FashionMnistParams, SyntheticParams
from spec.states import Reason
from tests.worker.engine.conftest import Record
from worker.engine import EngineError
from worker.engine.data import in_memory, load, resident
from worker.engine.files import SYSTEM
from worker.engine.splits import Dataset, Split
from worker.engine.standard import measured

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


def test_inputs_are_standardised_over_the_training_split(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    train, validation = random.integers(0, 256, (2, 30, 3, 4, 5), np.uint8)
    train[:, 2] = 7
    labels = torch.arange(30, dtype=torch.uint8)
    raw = Dataset(
        Split(torch.from_numpy(train), labels), Split(torch.from_numpy(validation), labels), 30
    )
    source = in_memory(raw)
    data = resident(source, measured(source.train), CPU)
    mean = train.mean((0, 2, 3), keepdims=True)
    std = train.std((0, 2, 3), keepdims=True)
    std[:, 2] = 1
    assert np.allclose(data.train.inputs, (train - mean) / std, atol=1e-5)
    assert np.allclose(data.validation.inputs, (validation - mean) / std, atol=1e-5)
    assert data.train.inputs.dtype == torch.float32
    assert data.train.labels.dtype == torch.int64
    assert raw.train.inputs.dtype == torch.uint8


def test_digits_have_their_fixed_split(tmp_path: Path) -> None:
    data = load(DigitsParams(), device=CPU, data_dir=tmp_path)
    assert (len(data.train), len(data.validation)) == (1437, 360)
    assert (data.shape, data.classes) == ((1, 8, 8), 10)
    assert data.train.labels[:10].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5]


def test_synthetic_data_follow_their_seed_and_parameters(tmp_path: Path) -> None:
    def make(**params: object) -> Dataset:
        return load(SyntheticParams(examples=101, **params), device=CPU, data_dir=tmp_path)

    data = make(shape=(3, 4, 2), classes=5)
    assert (len(data.train), len(data.validation), data.classes) == (81, 20, 5)
    assert data.shape == (3, 4, 2)
    load.cache_clear()
    again = make(shape=(3, 4, 2), classes=5)
    assert torch.equal(data.train.inputs, again.train.inputs)
    other = make(shape=(3, 4, 2), classes=5, seed=1)
    assert not torch.equal(data.train.inputs, other.train.inputs)
    # without noise all examples of a class are its centre
    exact = make(classes=2, noise=0.0).train
    assert len(torch.unique(exact.inputs, dim=0)) == 2


def test_a_loaded_dataset_is_kept(tmp_path: Path) -> None:
    first = load(DigitsParams(), device=CPU, data_dir=tmp_path)
    assert load(DigitsParams(), device=CPU, data_dir=tmp_path) is first
    assert load(SyntheticParams(), device=CPU, data_dir=tmp_path) is not first


def test_a_missing_library_is_named(train: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(EngineError, match=r"ModuleNotFoundError: .*sklearn") as failed:
        train()
    assert failed.value.reason is Reason.CODE


@pytest.mark.fashion
@pytest.mark.skipif(
    not (SYSTEM / "fashion-mnist").is_dir(),
    reason="needs Fashion-MNIST: apt install dataset-fashion-mnist",
)
def test_fashion_mnist_is_read_and_learnt(tmp_path: Path, train: Record) -> None:
    data = load(FashionMnistParams(), device=CPU, data_dir=tmp_path)
    assert data.shape == (1, 28, 28)
    assert torch.bincount(data.train.labels).tolist() == [6000] * 10
    assert torch.bincount(data.validation.labels).tolist() == [1000] * 10
    assert data.train.inputs.std().item() == pytest.approx(1, abs=1e-3)
    ours = train(data={"name": "fashion-mnist"}, batch_size=200, length={"iterations": 150})
    assert ours.plan.iterations_per_epoch == 300
    assert ours.result["val_accuracy"] > 0.75
