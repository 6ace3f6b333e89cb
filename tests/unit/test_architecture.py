"""House rules that no linter sees, and documentation that must name what exists."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.app import create_app
from api.broker import Broker
from schedules import POLICIES
from spec.catalogue import BUILT_INS
from spec.settings import PREFIX, Settings
from spec.states import MOVES, Reason, State
from store.database import connect
from store.series import SERIES

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "api",
    "migrations",
    "schedules",
    "spec",
    "stepsize",
    "store",
    "sweeps",
    "telemetry",
    "worker",
)
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
EVERYTHING = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    if (ROOT / name).suffix in {".py", ".md", ".toml", ".yml", ".js", ".html", ".css", ""}
    and (ROOT / name).is_file()
)

MAX_LINES = 300


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    opening = ast.get_docstring(ast.parse(path.read_text()))
    assert opening, "say in one sentence what the module is for"
    first = opening.split("\n\n")[0]
    assert re.search(r"[.:`]$", first), first


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_one_thing(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_blocks_commit_not_people(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert not names & {"commit", "rollback"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("api.app", {"torch", "sklearn", "worker", "stepsize"}),
        ("worker.app", {"torch", "sklearn", "fastapi", "api"}),
        ("worker.engine", {"celery", "sqlalchemy", "fastapi", "redis", "httpx", "store"}),
        ("telemetry.traces", {"opentelemetry", "sqlalchemy", "fastapi", "celery", "spec"}),
        ("store.jobs", {"torch", "celery", "fastapi"}),
        ("schedules", {"torch", "sqlalchemy", "celery", "fastapi"}),
        ("sweeps.proposing", {"torch", "sqlalchemy", "celery", "fastapi", "optuna", "cmaes"}),
        ("stepsize", {"torch", "sqlalchemy", "celery", "fastapi", "spec", "matplotlib", "pandas"}),
    ],
)
def test_what_an_import_brings_along(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    environment = {
        "STEPSIZE_DATABASE_URL": "sqlite:///unused.db",
        "STEPSIZE_BROKER_URL": "redis://x",
    }
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not absent & set(found.stdout.split())


def test_states_and_moves_are_documented() -> None:
    text = document("states.md")
    for state in State:
        assert f"**{state}**" in text, state
    for move in MOVES:
        assert f"`{move.verb}`" in text, move
        for source in move.sources:
            arrow = rf"^ +{source} --> {move.target}: .*\b{move.verb} \({move.actor}\)"
            assert re.search(arrow, text, re.MULTILINE), (source, move)
    for reason in Reason:
        assert f"`{reason}`" in text, reason


def test_the_diagram_has_no_other_arrows(texts: list[str]) -> None:
    (diagram,) = texts
    arrows = re.findall(r"^ +(\w+) --> (\w+): (.+)$", diagram, re.MULTILINE)
    drawn = {
        (source, target, verb, actor)
        for source, target, verbs in arrows
        for verb, actor in re.findall(r"(\w+) \((\w+)\)", verbs)
    }
    allowed = {(s, m.target, m.verb, m.actor) for m in MOVES for s in m.sources}
    assert {each for each in drawn if each[2] != "submit"} == {
        (str(s), str(t), v, a) for s, t, v, a in allowed
    }


def test_series_are_documented() -> None:
    text = document("series-format.md")
    for series, names in SERIES.items():
        assert f"`{series}`" in text
        for name in names:
            assert f"`{name}`" in text, name


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_documented(field: str) -> None:
    assert f"`{PREFIX}{field.upper()}`" in document("deployment.md")


def test_every_route_is_documented() -> None:
    settings = Settings(database_url="sqlite:///unused.db", broker_url="redis://unused")
    app = create_app(connect(settings.database_url), Broker(settings.broker_url), settings)
    text = document("api.md")
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text, (method, path)


def test_every_policy_and_component_is_documented() -> None:
    text = document("api.md")
    names = {policy.model_fields["policy"].default for policy in POLICIES}
    for known in BUILT_INS.values():
        names |= known.keys()
    for name in names:
        assert f"`{name}`" in text, name


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), (named(path), target)


def test_the_code_speaks_of_itself_alone() -> None:
    me = Path(__file__)
    for path in EVERYTHING:
        if path != me and path.exists():
            assert not re.search(r"/work/|/root/", path.read_text(errors="replace")), named(path)
