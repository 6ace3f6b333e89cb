"""The JSON in docs/api.md and docs/engine.md is what the service takes and answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from api.answers import WaitingOut
from api.keys import KeySpec
from schedules import Policy
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.recipes import RecipeSpec
from spec.sweeps import SweepSpec
from stepsize.sweep_values import Sweep
from stepsize.values import Attempt, Change, Suggestion

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name: str) -> list[str]:
    return re.findall(r"```json\n(.+?)\n```", (DOCS / name).read_text(), re.DOTALL)


SPECS: dict[str, type[BaseModel]] = {
    "range_test": RangeTestSpec,
    "training": TrainingSpec,
    "sweep": SweepSpec,
    "recipe": RecipeSpec,
}
ELLIPSIS = re.compile(r'"\.\.\."')
WHOLE: dict[str, Any] = {
    "kind": "training",
    "model": {"name": "mlp"},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
    "schedule": {"policy": "constant", "lr": 0.1},
    "length": {"epochs": 1},
}


def check(value: dict[str, Any]) -> None:
    """Reads it as what it is; of answers, as the client does."""
    match value:
        case {"kind": kind}:
            SPECS[kind].model_validate(value)
        case {"policy": _}:
            TypeAdapter(Policy).validate_python(value)
        case {"scopes": _}:
            KeySpec.model_validate(value)
        case {"suggestion": suggestion, "range": _}:
            Suggestion.model_validate(suggestion)
        case {"promised": _}:
            sweep = Sweep.model_validate(value)
            assert sweep.best is not None
        case {"attempts": attempts, "history": history}:
            TypeAdapter(list[Attempt]).validate_python(attempts)
            TypeAdapter(list[Change]).validate_python(history)
        case {"waiting": waiting}:
            WaitingOut.model_validate(waiting)
        case {"title": _, "status": status, "errors": errors}:
            assert (status, set(errors[0])) == (422, {"pointer", "detail"})
        case _:
            TrainingSpec.model_validate(WHOLE | value)


@pytest.mark.parametrize("text", blocks("api.md") + blocks("engine.md"))
def test_a_block_is_what_it_says(text: str) -> None:
    told = ELLIPSIS.sub('"2026-01-31T12:00:00Z"', text).replace("_...", "_1")
    check(json.loads(told))


def test_a_wrong_block_would_be_found() -> None:
    with pytest.raises(ValueError, match="batch_sise"):
        check({"batch_sise": 32})
