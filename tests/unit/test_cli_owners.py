"""The commands about owners: usage, shares and limits, rules of retention."""

import json

import pytest

from tests.unit.conftest import Fake, Run

OWNER = {
    "owner": "ada",
    "share": 2.0,
    "max_running": 8,
    "max_points": None,
    "max_checkpoint_bytes": 1_000_000,
    "waiting": 3,
    "running": 5,
    "points": 12_345,
    "checkpoint_bytes": 1_000,
    "counted_at": "2026-01-31T12:00:00Z",
}
RULE = {
    "id": "ret_1",
    "what": "series",
    "after_days": 30,
    "tag": "project",
    "value": "demo",
    "created_at": "2026-01-31T12:00:00Z",
}


def test_usage_is_told_against_the_limits(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/usage"] = (200, OWNER)
    told = run("usage").stdout
    assert "5 of 8" in told
    assert "12,345" in told
    assert "1,000 of 1,000,000" in told
    assert json.loads(run("usage", "--json").stdout)["owner"] == "ada"


def test_owners_are_listed(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/owners"] = (200, {"data": [OWNER]})
    assert "ada" in run("owners", "list").stdout
    fake.answers["GET /v1/owners"] = (200, {"data": []})
    assert "whoever submits a job is one" in run("owners", "list").stderr


@pytest.mark.parametrize(
    ("owner", "options", "expected"),
    [
        ("ada", ["--share", "3"], {"share": 3.0, "max_running": 8}),
        ("ada", ["--running", "none"], {"share": 2.0, "max_running": None}),
        ("ada", ["--running", "9"], {"share": 2.0, "max_running": 9}),
        ("bob", ["--running", "9"], {"share": 1.0, "max_running": 9}),
    ],
)
def test_what_is_not_given_stays(
    fake: Fake, run: Run, owner: str, options: list[str], expected: dict[str, object]
) -> None:
    fake.answers["GET /v1/owners"] = (200, {"data": [OWNER]})
    fake.answers[f"PUT /v1/owners/{owner}"] = (200, OWNER)
    done = run("owners", "set", owner, *options)
    assert done.exit_code == 0, done.stderr
    body = fake.asked[-1][-1]
    assert body | expected == body
    assert body["max_checkpoint_bytes"] == (1_000_000 if owner == "ada" else None)


def test_what_is_no_limit_is_refused(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/owners"] = (200, {"data": []})
    done = run("owners", "set", "ada", "--running", "many")
    assert done.exit_code != 0
    assert "'many' is no limit: give a whole number, or none" in done.stderr


def test_rules_are_added_listed_and_removed(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/retention"] = (201, RULE)
    done = run("retention", "add", "series", "30", "--tag", "project=demo")
    assert fake.asked[-1][-1] == {
        "what": "series",
        "after_days": 30,
        "tag": "project",
        "value": "demo",
    }
    words = "series of jobs tagged project=demo, 30 days after their end"
    assert words in done.stdout
    fake.answers["GET /v1/retention"] = (200, {"data": [RULE]})
    assert words in run("retention", "list").stdout
    fake.answers["GET /v1/retention"] = (200, {"data": []})
    assert "everything is kept" in run("retention", "list").stderr
    fake.answers["DELETE /v1/retention/ret_1"] = (204, None)
    assert run("retention", "remove", "ret_1").exit_code == 0
