"""docs/schedules.md says what the policies are."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from schedules import POLICIES, Schedule
from tests.policies import NAMES, POLICY

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS / "make_schedules.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schedules", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_policies_say_now(script: ModuleType) -> None:
    assert (DOCS / "schedules.md").read_text() == script.page(), "run docs/make_schedules.py"


def test_every_policy_has_its_notes_and_nothing_else_has(script: ModuleType) -> None:
    assert set(script.NOTES) == set(NAMES)


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_every_policy_has_a_section(policy: type[Schedule]) -> None:
    name = policy.model_fields["policy"].default
    sections = re.split(r"^## ", (DOCS / "schedules.md").read_text(), flags=re.MULTILINE)
    (section,) = [each for each in sections if each.startswith(f"{name}\n")]
    assert policy.formula in section
    assert policy.source in section
    assert "**When.**" in section
    picture = re.search(r"\]\((policies/\w+\.svg)\)", section)
    assert picture, name
    assert (DOCS / picture[1]).read_text().lstrip().startswith("<?xml")
    example = re.search(r"```json\n(.+)\n```", section)
    assert example, name
    assert isinstance(POLICY.validate_json(example[1]), policy)
    for field in policy.model_fields.keys() - {"policy", "warmup"}:
        assert f"\n| `{field}` |" in section


def test_formulas_are_those_of_the_policies(texts: list[str]) -> None:
    assert [text.strip() for text in texts] == [policy.formula for policy in POLICIES]


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_a_formula_can_be_read_alone(policy: type[Schedule]) -> None:
    """Every number among the fields that moves the rate is in it, by name."""
    assert "lr" in policy.formula
    assert "=" in policy.formula
    apart = {"policy", "warmup", "window", "shape", "anneal_strategy", "metric"}
    apart |= {"three_phase", "pieces", "schedule", "range", "repeats"}
    for field in policy.model_fields.keys() - apart:
        assert re.search(rf"\b{field}\b", policy.formula), field


def test_a_picture_is_the_same_each_time(script: ModuleType, tmp_path: Path) -> None:
    shown = script.picture(POLICIES[0])
    for name in ("a", "b"):
        script.draw(shown, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
