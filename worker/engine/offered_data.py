"""Datasets that plug-ins make: arrays in memory, or datasets of torch's kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.models import Shape
from worker.engine.plugins import PluginParams, made
from worker.engine.readers import drawing
from worker.engine.sources import InMemory, Raw, Ready
from worker.engine.splits import Split


@dataclass(frozen=True)
class Arrays:
    """A dataset in memory, each split as inputs and labels: NumPy arrays or tensors on the CPU.

    Attributes:
        train: inputs (examples, channels, height, width), (examples, height, width) or
            (examples, features), any real numbers; labels (examples,), integers from 0.
        validation: the same.
        classes: how many there are.
        as_is: use the inputs as they are; else each channel is standardised over `train`.
    """

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    classes: int
    as_is: bool = False


def read(params: PluginParams, data_dir: Path) -> Raw | Ready:
    """The dataset, made anew: what it draws from the global generators is always the same.

    Raises:
        EngineError: CODE, it is not what it should be.
    """
    with drawing(0, 0):
        found = made(params, data_dir)
    match found:
        case Arrays():
            return _in_memory(found, params.component)
        case Raw() | Ready():
            return found
    raise EngineError(
        Reason.CODE,
        f"dataset {params.component} is a {type(found).__name__}: give Arrays or Ready of"
        " worker.plugins",
    )


def _in_memory(arrays: Arrays, name: str) -> Raw:
    train, validation = (
        _split(name, part, *pair, classes=arrays.classes)
        for part, pair in (("train", arrays.train), ("validation", arrays.validation))
    )
    if train.shape != validation.shape:
        raise _wrong(
            name, f"has examples of shape {train.shape}, and to validate {validation.shape}"
        )
    return Raw(InMemory(train), InMemory(validation), arrays.classes, as_is=arrays.as_is)


def _split(name: str, part: str, inputs: Any, labels: Any, *, classes: int) -> Split:
    examples, truth = (_tensor(each) for each in (inputs, labels))
    if truth.ndim != 1 or truth.is_floating_point() or len(truth) != len(examples):
        raise _wrong(
            name,
            f"has labels of {truth.dtype} in shape {(*truth.shape,)} for {len(examples)} inputs to"
            f" {part}: give one integer for each",
        )
    if not len(examples) or examples.is_complex():
        raise _wrong(name, f"has inputs of {examples.dtype} in shape {(*examples.shape,)}")
    least, most = truth.aminmax()
    if least < 0 or most >= classes:
        odd = int(least if least < 0 else most)
        raise _wrong(name, f"has a label {odd}, which is not one of {classes} classes")
    return Split(examples.reshape(len(examples), *_shape(name, examples.shape)), truth.long())


def _tensor(given: Any) -> Tensor:
    found = torch.as_tensor(np.asarray(given) if isinstance(given, Sequence) else given).cpu()
    return found.float() if found.dtype in {torch.bfloat16, torch.float16} else found


def _shape(name: str, shape: Sequence[int]) -> Shape:
    match tuple(shape):
        case (_, channels, height, width):
            return channels, height, width
        case (_, height, width):
            return 1, height, width
        case (_, features):
            return features, 1, 1  # each is standardised by itself
    raise _wrong(
        name,
        f"has inputs of shape {tuple(shape)}: give (examples, channels, height, width), (examples,"
        " height, width) or (examples, features)",
    )


def _wrong(name: str, what: str) -> EngineError:
    return EngineError(Reason.CODE, f"dataset {name} {what}")
