"""docs/range-test.md says what the analysis does."""

from pathlib import Path
from typing import get_args

import pytest

from schedules.analysis import ADVICE, DIVISORS, Status
from spec.jobs import Check, RangeTestSpec
from tests.curves import bowls, ramp, read

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "range-test.md").read_text()


@pytest.mark.parametrize("status", Status)
def test_every_status_is_there_with_what_to_do(status: Status) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{status.value}` |")]
    assert ADVICE.get(status, "") in row


def test_the_divisors_are_those_of_the_code() -> None:
    for use, divisor in DIVISORS["sgd"].items():
        assert f"| edge / {divisor:g} | edge / {DIVISORS['adam'][use]:g} |" in PAGE


@pytest.mark.parametrize("page", ["range-test.md", "api.md"])
def test_every_field_of_a_result_is_there(page: str) -> None:
    text = (DOCS / page).read_text()
    found = read(ramp(), bowls(ramp())).result()
    for name in [*found, *found["landmarks"], *found["compat"], "agreement", "checks", "range"]:
        assert f"`{name}`" in text or f'"{name}"' in text, name


def test_every_field_of_the_spec_is_there() -> None:
    shared = {"kind", "name", "model", "data", "batch_size", "optimizer", "seed", "precision"}
    shared |= {"tags", "priority", "queue"}
    engine = (DOCS / "engine.md").read_text()
    for name in RangeTestSpec.model_fields.keys() - shared:
        assert f"| `{name}` " in PAGE + engine, name
    for check in get_args(Check):
        assert f"**{check}**" in PAGE


def test_the_picture_is_there() -> None:
    assert "(range-test-read.png)" in PAGE
    assert (DOCS / "range-test-read.png").read_bytes().startswith(b"\x89PNG")
