"""docs/which-schedule.md says what its results file says, and the code would run the same jobs."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spec.recipes import ANY_SWEEP, RecipeSpec
from sweeps.proposing import promised, propose
from sweeps.trials import Trial

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "which-schedule"
PAGE = FOLDER.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "recipe_report", ROOT / "benchmarks" / "recipe_report.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((FOLDER / "results.json").read_text())
    return recorded


def test_the_page_is_what_was_recorded(script: ModuleType, found: dict[str, Any]) -> None:
    assert script.page(found) == PAGE, "run benchmarks/recipe_study.py report"


def test_the_pictures_are_there(script: ModuleType, found: dict[str, Any], tmp_path: Path) -> None:
    script.draw(found, tmp_path)
    for picture in ("range-test.svg", "curves.svg"):
        assert f"(which-schedule/{picture})" in PAGE
        assert (FOLDER / picture).read_text().startswith("<?xml")
        assert (tmp_path / picture).read_text().startswith("<?xml")


def test_the_same_range_test_leads_to_the_same_trainings(found: dict[str, Any]) -> None:
    spec = ANY_SWEEP.validate_python(found["request"])
    assert isinstance(spec, RecipeSpec)
    (first,) = propose(spec, [], 100)
    result = found["range_test"]["result"]
    test = Trial(0, first.parameters, "done", memory=first.memory, result=result)
    assert [each.parameters for each in propose(spec, [test], 100)] == [
        row["parameters"] for row in found["rows"]
    ]
    assert promised(spec) == found["preview"]["jobs"] == len(found["rows"]) + 1


def test_what_is_claimed_of_the_same_weights_and_batches_is_so(found: dict[str, Any]) -> None:
    """Before the rates differ, so do no losses: schedules that begin at the same rate agree."""
    first: dict[tuple[Any, Any], set[float]] = {}
    for row, training in zip(found["rows"], found["trainings"], strict=True):
        key = row["parameters"]["/seed"], row["parameters"].get("/schedule/lr")
        first.setdefault(key, set()).add(training["first_loss"])
    assert {len(each) for each in first.values()} == {1}
