"""Files of the user's own are checked, standardised, and never loaded whole where they are not."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from pydantic import ValidationError

from spec.components import ArraysParams
from spec.compute import Loader
from spec.states import Reason
from tests.worker.engine.conftest import CPU, Record
from worker.engine import EngineError, arrays, memory
from worker.engine.data import load, open_dataset
from worker.engine.splits import Dataset
from worker.engine.streams import Streamed

MINE = ArraysParams(folder="mine")
SEED = np.random.default_rng(0)
INPUTS = SEED.integers(0, 256, (30, 2, 4, 5), np.uint8)
LABELS = np.arange(30) % 3


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes the four files: `save(train_inputs=...)`."""

    def save(**others: ArrayLike) -> Path:
        folder = tmp_path / "arrays" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("train", "validation"):
            for what, numbers in (("inputs", INPUTS), ("labels", LABELS)):
                name = f"{part}_{what}"
                np.save(folder / f"{name}.npy", others.get(name, numbers), allow_pickle=True)
        return folder

    return save


def opened(data_dir: Path, params: ArraysParams = MINE) -> Dataset:
    found = open_dataset(params, device=CPU, data_dir=data_dir, loader=None)
    assert isinstance(found, Dataset)
    return found


def streamed(data_dir: Path) -> Streamed:
    found = open_dataset(MINE, device=CPU, data_dir=data_dir, loader=Loader(workers=0))
    assert isinstance(found, Streamed)
    return found


@pytest.mark.parametrize(
    ("saved", "shape"),
    [((2, 4, 5), (2, 4, 5)), ((5, 8), (1, 5, 8)), ((40,), (40, 1, 1))],
    ids=["channels", "images", "features"],
)
def test_each_channel_is_standardised(
    save: Save, tmp_path: Path, saved: tuple[int, ...], shape: tuple[int, int, int]
) -> None:
    inputs = SEED.normal(1000, 3, (30, *saved))
    inputs[:, 0] = 7 if len(saved) == 1 else inputs[:, 0]
    save(train_inputs=inputs, validation_inputs=inputs[::-1])
    data = opened(tmp_path)
    assert data.shape == shape
    assert data.classes == 3
    expected = inputs.reshape(30, *shape)
    mean, std = (f((0, 2, 3), keepdims=True) for f in (expected.mean, expected.std))
    expected = (expected - mean) / np.where(std, std, 1)
    assert np.allclose(data.train.inputs, expected, atol=1e-3)
    assert np.allclose(data.validation.inputs, expected[::-1], atol=1e-3)
    assert data.train.inputs.dtype == torch.float32
    assert data.train.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "kind", ["?", "u1", "i1", "<i2", ">i2", "<u2", ">u4", "<i8", "<u8", "<f2", ">f4", "<f8"]
)
def test_every_real_type_is_read(save: Save, tmp_path: Path, kind: str) -> None:
    inputs = INPUTS.astype(kind)
    save(train_inputs=inputs, train_labels=LABELS.astype(">u2"))
    data = opened(tmp_path)
    numbers = inputs.astype(np.float64)
    expected = (numbers - numbers.mean((0, 2, 3), keepdims=True)) / numbers.std(
        (0, 2, 3), keepdims=True
    )
    assert np.allclose(data.train.inputs, expected, atol=1e-4)
    (batch,) = streamed(tmp_path).train.in_order(30)
    assert torch.equal(batch.inputs, data.train.inputs)
    assert torch.equal(batch.labels, data.train.labels)


def test_statistics_do_not_depend_on_the_size_of_a_piece(save: Save, tmp_path: Path) -> None:
    """Numbers far from 0, in many pieces, of which the last is smaller."""
    inputs = (SEED.normal(1e6, 1, (2111, 1, 16, 16)) + np.arange(2111)[:, None, None, None]) * 3
    save(train_inputs=inputs, train_labels=np.arange(2111) % 3, validation_inputs=inputs[:30])
    data = opened(tmp_path)
    assert data.train.inputs.double().mean().item() == pytest.approx(0, abs=1e-4)
    assert data.train.inputs.double().std(correction=0).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../mine", "a/b", "/etc", ".mine", "a\n", "a\0", 7]
)
def test_a_folder_is_a_name(train: Record, name: object) -> None:
    with pytest.raises(ValidationError):
        ArraysParams.model_validate({"folder": name})
    with pytest.raises(EngineError, match=r"^/data/params/folder: ") as refused:
        train(data={"name": "arrays", "params": {"folder": name}})
    assert refused.value.reason is Reason.INVALID


def test_what_is_missing_is_named(save: Save, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"mine/train_inputs.npy is missing; put .*labels.npy"):
        opened(tmp_path)
    path = save() / "validation_labels.npy"
    for make in (Path.unlink, Path.mkdir):  # a folder is no file
        make(path)
        with pytest.raises(EngineError, match=r"validation_labels.npy is missing") as refused:
            opened(tmp_path)
        assert refused.value.reason is Reason.INVALID


WRONG = [
    ("train_inputs", INPUTS.astype(complex), r"numbers of type complex128"),
    ("train_inputs", INPUTS.astype("U"), r"numbers of type <U3"),
    ("train_inputs", INPUTS.astype("M8[s]"), r"numbers of type datetime64"),
    ("train_inputs", INPUTS.astype(np.longdouble), r"numbers of type (float128|longdouble)"),
    ("train_inputs", np.zeros(30, [("x", "f4")]), r"numbers of type \["),
    ("train_inputs", INPUTS.astype(object), r"no .npy file of numbers"),
    ("train_inputs", INPUTS[:, 0, 0, 0], r"has shape \(30,\): save \(examples, channels"),
    ("train_inputs", INPUTS[..., None], r"has shape \(30, 2, 4, 5, 1\)"),
    ("train_inputs", np.asfortranarray(INPUTS), r"Fortran's order.*ascontiguousarray"),
    ("train_inputs", INPUTS[:0], r"no .npy file|is empty"),
    ("train_inputs", INPUTS[:, :0], r"no .npy file|is empty"),
    ("train_inputs", INPUTS[:29], r"train_labels.npy has 30 labels for 29 inputs"),
    ("train_inputs", np.where(INPUTS > 254, np.nan, INPUTS), r"^/data: .* not all finite"),
    ("train_inputs", np.where(INPUTS > 254, np.inf, INPUTS), r"^/data: .* not all finite"),
    ("train_inputs", np.where(INPUTS > 254, 1e300, INPUTS), r"^/data: .* not all finite"),
    ("validation_inputs", INPUTS[:, :1], r"shape \(1, 4, 5\), and train_inputs.npy of \(2, 4, 5\)"),
    ("train_labels", LABELS.astype(float), r"type float64 in shape \(30,\): save one integer"),
    ("train_labels", LABELS[:, None], r"in shape \(30, 1\): save one integer"),
    ("train_labels", LABELS - 1, r"has a label -1: count classes from 0"),
    ("train_labels", LABELS * 10**6, r"makes 2000001 classes: labels are to count 2 to 100,000"),
    ("train_labels", LABELS.astype("u8") * 2**62, r"makes \d+ classes"),
    ("validation_labels", LABELS[:7], r"validation_labels.npy has 7 labels for 30 inputs"),
]


@pytest.mark.parametrize(("name", "numbers", "why"), WRONG)
def test_a_wrong_file_is_refused(
    save: Save, tmp_path: Path, name: str, numbers: ArrayLike, why: str
) -> None:
    save(**{name: numbers})
    with pytest.raises(EngineError, match=why) as refused:
        opened(tmp_path)
    assert refused.value.reason is Reason.INVALID


def test_labels_are_those_of_the_classes_asked_for(save: Save, tmp_path: Path) -> None:
    save(validation_labels=LABELS + 4)
    assert opened(tmp_path).classes == 7
    assert opened(tmp_path, ArraysParams(folder="mine", classes=9)).classes == 9
    with pytest.raises(EngineError, match=r"validation_labels.npy has a label 6, .* of 5 classes"):
        opened(tmp_path, ArraysParams(folder="mine", classes=5))
    save(train_labels=LABELS * 0, validation_labels=LABELS * 0)
    with pytest.raises(EngineError, match="makes 1 classes"):
        opened(tmp_path)


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def header(text: str) -> bytes:
    """An .npy file of this header, and a few numbers."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def test_what_is_no_array_is_refused_unopened(save: Save, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    path = save() / "train_inputs.npy"
    whole, archive = path.read_bytes(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inputs.npy", whole)
    objects = io.BytesIO()
    np.save(objects, np.array([trap]), allow_pickle=True)
    bad = [
        b"",
        whole[:-1],
        whole[:20],
        b"some text",
        archive.getvalue(),
        pickle.dumps(trap),
        objects.getvalue(),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 4)}"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (2**9, 4)}"),
        header("__import__('os').mkdir('sprung')"),
    ]
    for each in bad:
        path.write_bytes(each)
        with pytest.raises(EngineError, match=r"train_inputs.npy ") as refused:
            opened(tmp_path)
        assert refused.value.reason is Reason.INVALID
    assert sorted(each.name for each in tmp_path.iterdir()) == ["arrays"]


def test_a_file_that_changes_is_read_again(save: Save, tmp_path: Path) -> None:
    save()
    first = opened(tmp_path)
    assert opened(tmp_path) is first
    save(train_inputs=INPUTS[:7], train_labels=LABELS[:7])
    assert len(opened(tmp_path).train) == 7


def test_a_file_that_changes_under_a_job_is_not_mixed_with_what_was_there(
    save: Save, tmp_path: Path
) -> None:
    save()
    dataset = streamed(tmp_path)
    save(validation_inputs=INPUTS[:3] + 1, validation_labels=LABELS[:3])
    with pytest.raises(EngineError, match=r"validation_inputs.npy was changed since the job began"):
        list(dataset.validation.in_order(2))


def anonymous() -> int:
    """Bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) * 1024 for each in lines if each.startswith("RssAnon"))


def test_what_does_not_fit_is_never_loaded_whole(
    save: Save, train: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 MB of bytes, 1 GB as numbers to compute with, almost all of them a hole in the file."""
    folder = save(validation_inputs=np.zeros((30, 1, 16, 16), np.uint8))
    examples = 1 << 20
    inputs = np.lib.format.open_memmap(
        folder / "train_inputs.npy", mode="w+", dtype=np.uint8, shape=(examples, 1, 16, 16)
    )
    inputs[-1] = 255
    inputs.flush()
    np.save(folder / "train_labels.npy", np.zeros(examples, np.uint8))
    np.save(folder / "validation_labels.npy", np.zeros(30, np.uint8))
    monkeypatch.setattr(memory, "available", lambda _: 1 << 30)
    job = {
        "data": {"name": "arrays", "params": {"folder": "mine", "classes": 2}},
        "length": {"iterations": 20},
        "schedule": {"policy": "constant", "lr": 1e-6},
    }
    train(data={"name": "digits"})
    before, most = anonymous(), 0
    rows = arrays.ArraysOnDisk.rows

    def watched(self: arrays.ArraysOnDisk, indices: Any) -> Any:
        nonlocal most
        most = max(most, anonymous())
        return rows(self, indices)

    monkeypatch.setattr(arrays.ArraysOnDisk, "rows", watched)
    ours = train(**job, loader={"workers": 0})
    assert ours.plan.notes["data"] == "streamed"
    assert ours.plan.iterations_per_epoch == examples // 32
    assert most  # batches were read while it was looked at
    assert most - before < 100e6
