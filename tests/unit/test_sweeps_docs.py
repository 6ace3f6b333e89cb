"""docs/sweeps.md says what sweeps are."""

import doctest
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from api.choosing import first_of
from spec.jobs import Ramping, RangeTestSpec, TrainingSpec
from spec.recipes import ANY_SWEEP, WHICH, RecipeSpec
from spec.spaces import COMPARED
from spec.sweeps import CoarseToFine, Sampler, Stopping
from sweeps.configurations import job_spec
from sweeps.filling import CYCLES
from sweeps.proposing import promised, propose
from sweeps.recipes import base
from sweeps.stopping import MOST

PATH = Path(__file__).parents[2] / "docs" / "sweeps.md"
PAGE = PATH.read_text()
EXAMPLES: list[tuple[str, str]] = re.findall(
    r"```json\n(.+?)\n```\n\n[^\n]*?\*\*(\d+) jobs\*\*", PAGE, re.DOTALL
)
FIRST: dict[str, Any] = json.loads(EXAMPLES[0][0])
KINDS: dict[Any, type] = {"training": TrainingSpec, "range_test": RangeTestSpec}
SAMPLERS = [each.model_fields["name"] for each in get_args(get_args(Sampler)[0])]


def test_every_example_is_read() -> None:
    assert len(EXAMPLES) == PAGE.count("```json")


@pytest.mark.parametrize(("example", "jobs"), EXAMPLES)
def test_an_example_runs_what_is_said(example: str, jobs: str) -> None:
    spec = ANY_SWEEP.validate_python({"template": FIRST["template"], **json.loads(example)})
    assert promised(spec) == int(jobs)
    proposals = propose(spec, [], int(jobs))
    assert proposals
    for each in proposals:
        template = base(spec, each.parameters) if isinstance(spec, RecipeSpec) else spec.template
        assert isinstance(job_spec(template, each.parameters), KINDS[template["kind"]])
    if isinstance(spec, RecipeSpec):
        first_of(spec)  # each schedule makes a job


def test_recipes_compare_what_is_said_unless_told_otherwise() -> None:
    names = [f"`{each['policy']}`" for each in WHICH]
    assert f"unset, {', '.join(names[:-1])} and {names[-1]} |" in PAGE
    for field in Ramping.model_fields.keys() - {"evaluate"}:
        assert f"`{field}`" in PAGE
    assert CYCLES == 3


@pytest.mark.parametrize("name", [get_args(field.annotation)[0] for field in SAMPLERS])
def test_every_sampler_has_a_row(name: str) -> None:
    assert f"\n| `{name}` |" in PAGE


def test_every_field_of_a_space_and_every_comparison_is_there() -> None:
    for name in ("values", "low", "high", "log", "integer", "step", "points", "when", "mean", "sd"):
        assert f"`{name}`" in PAGE or f'"{name}"' in PAGE, name
    for name in COMPARED:
        assert f"`{name}`" in PAGE, name


@pytest.mark.parametrize("field", ["low", "high", "iterations", "rounds", "points"])
def test_defaults_are_those_of_the_code(field: str) -> None:
    (said,) = re.findall(rf"`{field}` \(([0-9e.-]+)\)", PAGE)
    assert float(said) == CoarseToFine.model_fields[field].default


def test_what_is_shown_in_python_is_so(texts: list[str]) -> None:
    shown = doctest.DocTestParser().get_doctest("".join(texts), {}, str(PATH), str(PATH), 0)
    found = doctest.DocTestRunner().run(shown)
    assert found.attempted > len(texts)
    assert found.failed == 0


@pytest.mark.parametrize("name", get_args(Stopping.model_fields["name"].annotation))
def test_every_way_to_stop_has_a_row(name: str) -> None:
    assert f"\n| `{name}` |" in PAGE


def test_defaults_of_stopping_are_those_of_the_code() -> None:
    rule = Stopping(name="asha")
    assert f"`grace` ({rule.grace})" in PAGE
    assert f"(`eta` {rule.eta})" in PAGE
    assert f"at most {MOST} times" in PAGE
