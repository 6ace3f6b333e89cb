"""Spec files in every format, and what is wrong with bad ones."""

import io
import json
from pathlib import Path

import pytest

from stepsize import StepsizeError
from stepsize.specs import parse_spec, read_spec

SPEC = {
    "kind": "range_test",
    "range": {"start": 1e-7, "end": 10, "ramp": "exponential"},
    "model": {"name": "mlp", "params": {"hidden": [64, 32]}},
    "tags": {"day": "2026-01-31", "switch": "on"},
    "deep": True,
}
JSON = json.dumps(SPEC)
YAML = """
kind: range_test
range: {start: 1e-7, end: 10, ramp: exponential}
model:
  name: mlp
  params: {hidden: [64, 32]}
tags: {day: 2026-01-31, switch: on}
deep: true
"""
TOML = """
kind = "range_test"
deep = true
range = {start = 1e-7, end = 10, ramp = "exponential"}
[model]
name = "mlp"
params = {hidden = [64, 32]}
[tags]
day = "2026-01-31"
switch = "on"
"""
FORMS = pytest.mark.parametrize(
    ("ending", "text"), [("json", JSON), ("yaml", YAML), ("yml", YAML), ("toml", TOML)]
)


@FORMS
def test_a_file_is_read_by_its_ending(tmp_path: Path, ending: str, text: str) -> None:
    file = tmp_path / f"job.{ending}"
    file.write_text(text)
    assert read_spec(file) == SPEC


@FORMS
def test_any_form_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, ending: str, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert read_spec("-") == SPEC


@pytest.mark.parametrize("number", ["1e-7", "1E-07", "0.0000001", ".1e-6", "1.e-7", "+1.0e-7"])
def test_yaml_numbers_are_numbers(number: str) -> None:
    assert parse_spec(f"start: {number}", source="text") == {"start": pytest.approx(1e-7)}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("broken.json", "{", "cannot be parsed"),
        ("broken.yaml", "a: [", "cannot be parsed"),
        ("broken.toml", "a = ", "cannot be parsed"),
        ("list.json", "[1]", "must hold an object of fields, not list"),
        ("empty.yaml", "", "must hold an object of fields, not NoneType"),
        ("when.toml", "at = 2026-01-31", "what JSON cannot carry"),
        ("infinite.yaml", "a: !!float .inf", "what JSON cannot carry"),
        ("missing.json", None, "No such file"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, text: str | None, complaint: str
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(StepsizeError, match=complaint) as caught:
        read_spec(file)
    assert name in str(caught.value)
