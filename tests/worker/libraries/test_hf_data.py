"""Tables of the library `datasets` that lie in the data directory."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spec.jobs import JOB_SPEC
from tests.worker.engine.conftest import TRAINING
from worker.engine import EngineError, Finished, run
from worker.engine.data import load, open_dataset
from worker.engine.plugins import PluginParams, installed
from worker.engine.splits import Dataset

hf = pytest.importorskip("datasets", reason="needs the extra: pip install 'stepsize[datasets]'")
Image = pytest.importorskip("PIL.Image")

CPU = torch.device("cpu")
COUNT = 40


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf.config, "HF_HUB_OFFLINE", True)
    hf.disable_progress_bars()
    load.cache_clear()


def png(seed: int, side: int = 8, mode: str = "RGB") -> bytes:
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    pixels = np.random.default_rng(seed).integers(0, 255, shape, np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def images(count: int = COUNT, **how: Any) -> Any:
    columns = {
        "image": [{"bytes": png(i, **how), "path": None} for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["a", "b"])})
    return hf.Dataset.from_dict(columns, features=features)


Written = Callable[..., None]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a table as the file of a split."""

    def written(table: Any, name: str = "train.parquet", folder: str = "mine") -> None:
        path = tmp_path / "datasets" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(str(path))

    return written


def params(**given: Any) -> PluginParams:
    plugin = installed().find("data", "hf-dataset")
    assert plugin is not None
    return plugin.params.parsed({"local": "mine", **given})


def opened(tmp_path: Path, **given: Any) -> Dataset:
    found = open_dataset(params(**given), device=CPU, data_dir=tmp_path, loader=None)
    assert isinstance(found, Dataset)
    return found


def test_images_are_decoded_and_standardised(tmp_path: Path, written: Written) -> None:
    written(images())
    written(images(10), "validation.parquet")
    found = opened(tmp_path)
    assert (found.shape, found.classes) == ((3, 8, 8), 2)
    assert (len(found.train), len(found.validation)) == (COUNT, 10)
    assert found.train.labels.tolist() == [i % 2 for i in range(COUNT)]
    assert found.train.inputs.mean((0, 2, 3)).abs().max() < 1e-5
    pixels = np.array(Image.open(io.BytesIO(png(3))), np.float32).transpose(2, 0, 1)
    own = found.train.inputs[3, 0].flatten()
    assert np.corrcoef(own, pixels[0].flatten())[0, 1] == pytest.approx(1)


def test_images_are_made_one_size(tmp_path: Path, written: Written) -> None:
    written(images(mode="L", side=9))
    assert opened(tmp_path, validation=0.25, size=6).shape == (1, 6, 6)


def test_several_files_are_one_split(tmp_path: Path, written: Written) -> None:
    written(images(), "train-00000-of-00002.parquet")
    written(images(5), "train-00001-of-00002.parquet")
    written(images(7), "trainer.parquet")  # another split
    assert len(opened(tmp_path, validation=0.2).train) == 36


def test_columns_of_numbers_are_features_and_words_are_classes(
    tmp_path: Path, written: Written
) -> None:
    columns = {"x": [0.5, 1.5] * 20, "y": [1, 2] * 20, "kind": ["cat", "ant"] * 20}
    written(hf.Dataset.from_dict(columns))
    found = opened(tmp_path, inputs=["x", "y"], labels="kind", validation=0.25)
    assert (found.shape, found.classes) == ((2, 1, 1), 2)
    assert set(found.train.labels.tolist()) == {0, 1}


def test_lists_of_tokens_are_taken_as_they_are(tmp_path: Path, written: Written) -> None:
    columns = {"ids": [[i, 2, 3, 0] for i in range(COUNT)], "label": [i % 3 for i in range(COUNT)]}
    written(hf.Dataset.from_dict(columns))
    found = opened(tmp_path, inputs=["ids"], validation=0.25, as_is=True)
    assert (found.shape, found.classes) == ((4, 1, 1), 3)
    assert found.train.inputs[:, 1:, 0, 0].unique().tolist() == [0.0, 2.0, 3.0]


def test_arrow_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "mine"
    images().save_to_disk(str(tmp_path / "saved"))
    folder.mkdir(parents=True)
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.rename(folder / "train.arrow")
    assert len(opened(tmp_path, validation=0.25).train) == 30


@pytest.mark.parametrize("name", ["..", "../mine", "/etc", "link", "mine/../../x"])
def test_no_path_leads_out(tmp_path: Path, written: Written, name: str) -> None:
    written(images())
    (tmp_path / "datasets" / "link").symlink_to("/etc")
    with pytest.raises(EngineError, match="leads out of the data directory"):
        opened(tmp_path, local=name)


def test_a_file_that_is_a_link_leads_nowhere(tmp_path: Path, written: Written) -> None:
    written(images(), folder="../elsewhere")
    (tmp_path / "datasets" / "mine").mkdir(parents=True, exist_ok=True)
    (tmp_path / "datasets" / "mine" / "train.parquet").symlink_to(
        tmp_path / "elsewhere" / "train.parquet"
    )
    with pytest.raises(ValueError, match="leads out of the data directory"):
        opened(tmp_path, validation=0.5)


def test_images_that_a_table_only_points_at_are_not_opened(
    tmp_path: Path, written: Written
) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    columns = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 4}
    features = hf.Features({"image": {"bytes": hf.Value("binary"), "path": hf.Value("string")}})
    table = hf.Dataset.from_dict(columns, features=features).cast_column("image", hf.Image())
    written(table.add_column("label", [0, 1, 0, 1]))
    with pytest.raises(EngineError, match="by path or address, which are not followed"):
        opened(tmp_path, validation=0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hub": "mnist"}, "give exactly one of local, hub"),
        ({"local": "nothing"}, r"has no train\.parquet"),
        ({"validation": 0.5, "inputs": ["picture"]}, "no column 'picture': image, label"),
        ({"validation": 0.5, "labels": "image"}, "column 'image' has no labels"),
        ({}, r"has no validation\.parquet"),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, written: Written, given: dict[str, Any], said: str
) -> None:
    written(images())
    with pytest.raises(EngineError, match=said):
        opened(tmp_path, **given)


def test_streamed_it_trains_to_the_same_bits(tmp_path: Path, written: Written) -> None:
    written(images())
    job = TRAINING | {
        "data": {"name": "hf-dataset", "params": {"local": "mine", "validation": 0.2}},
        "batch_size": 8,
        "length": {"iterations": 12},
    }

    def losses(**changes: Any) -> list[float]:
        spec = JOB_SPEC.validate_python(job | changes)
        events = list(run(spec, device=CPU, data_dir=tmp_path))
        assert isinstance(events[-1], Finished)
        return [
            loss
            for event in events
            if "loss" in getattr(event, "columns", {})
            for loss in event.columns["loss"].tolist()  # type: ignore[union-attr]
        ]

    assert losses() == losses(loader={"workers": 1})
