"""Models of libraries, made on the spot; those that are not installed say so."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from tests.worker.engine.checkpoints import assert_same, told
from tests.worker.engine.conftest import TRAINING, Record
from worker.engine import EngineError
from worker.engine.plugins import ME, installed

TINY: dict[str, Any] = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 16}
TRANSFORMERS = pytest.mark.skipif(
    find_spec("transformers") is None,
    reason="needs the extra: pip install 'stepsize[transformers]'",
)


def usable(library: str) -> str | None:
    """Why a library cannot be used here: torchvision has no build for torch without CUDA."""
    try:
        import_module(library)
    except (ImportError, RuntimeError, OSError) as error:
        return f"{library} cannot be used here: {error}"
    return None


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_what_is_missing_is_left_out_with_what_to_do(library: str) -> None:
    if find_spec(library) is not None:
        pytest.skip(f"{library} is installed")
    found = {each.name: each for each in installed().left_out if each.package == ME}
    expected = f"{library} is not installed: pip install 'stepsize[{library}]'"
    assert found[library].reason == expected


def test_without_the_library_a_job_is_refused(train: Record) -> None:
    if find_spec("timm") is not None:
        pytest.skip("timm is installed")
    with pytest.raises(EngineError, match="timm is not installed: pip install"):
        train(model={"name": "timm", "params": {"architecture": "resnet18"}})


TOKENS = """
    import numpy as np
    from worker.plugins import Arrays
    def tokens(data_dir):
        ids = np.random.default_rng(0).integers(0, 32, (96, 6))
        labels = (ids > 15).sum(1) % 2
        return Arrays((ids, labels), (ids[:32], labels[:32]), 2, as_is=True)
    """


@TRANSFORMERS
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2", "albert", "electra"])
def test_a_transformer_is_made_by_its_type(install: Any, train: Record, kind: str) -> None:
    install("lab", TOKENS, datasets=["tokens = lab:tokens"])
    model = {"name": "transformers", "params": {"model_type": kind, **TINY}}
    job = {"data": {"name": "tokens"}, "optimizer": {"name": "adam"}, "length": {"iterations": 3}}
    ours = train(model=model, **job)
    assert ours.plan.notes["packages"].keys() == {"lab", "stepsize"}  # type: ignore[union-attr]
    assert len(set(ours.column("loss").tolist())) == 3


@TRANSFORMERS
def test_a_transformer_goes_on_to_the_bit(install: Any) -> None:
    install("lab", TOKENS, datasets=["tokens = lab:tokens"])
    model = {"name": "transformers", "params": {"model_type": "bert", "dropout": 0.3, **TINY}}
    job = TRAINING | {"model": model, "data": {"name": "tokens"}, "optimizer": {"name": "adamw"}}
    job |= {"length": {"iterations": 12}, "evaluate": {"every": {"iterations": 4}}}
    assert_same(told(job, stops=[5]), told(job))


@TRANSFORMERS
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model_type": "berd"}, "/model/params/model_type: the library has no 'berd'; there is"),
        ({"model_type": "bert", "num_attention_heads": 3}, "cannot be shared by 3 heads"),
        ({"model_type": "../x"}, "/model/params/model_type: String should match"),
    ],
)
def test_a_type_that_is_not_known_is_refused(
    install: Any, train: Record, params: dict[str, Any], said: str
) -> None:
    install("lab", TOKENS, datasets=["tokens = lab:tokens"])
    with pytest.raises(EngineError, match=said):
        train(model={"name": "transformers", "params": TINY | params}, data={"name": "tokens"})


def test_a_model_of_timm(train: Record) -> None:
    if why := usable("timm"):
        pytest.skip(why)
    shape = {"shape": [1, 32, 32], "examples": 64}
    job = {"data": {"name": "synthetic", "params": shape}, "length": {"iterations": 2}}
    train(model={"name": "timm", "params": {"architecture": "resnet18"}}, **job)
    with pytest.raises(EngineError, match="the library has no 'resnet19'; there is"):
        train(model={"name": "timm", "params": {"architecture": "resnet19"}}, **job)


def test_a_model_of_torchvision(train: Record) -> None:
    if why := usable("torchvision"):
        pytest.skip(why)
    shape = {"shape": [3, 32, 32], "examples": 64}
    job = {"data": {"name": "synthetic", "params": shape}, "length": {"iterations": 2}}
    train(model={"name": "torchvision", "params": {"architecture": "resnet18"}}, **job)
