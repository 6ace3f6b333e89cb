"""`stepsize plugin new`: a package, whole, and never over another."""

import ast
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepsize.cli import app


def new(folder: Path, name: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["plugin", "new", name, "--to", str(folder)])
    return done.exit_code, done.output


def test_a_package_is_written_whole(tmp_path: Path) -> None:
    code, said = new(tmp_path, "my-lab")
    assert code == 0, said
    assert "stepsize plugin check my-lab" in said
    written = {str(each.relative_to(tmp_path / "my-lab")) for each in tmp_path.rglob("*.*")}
    assert written >= {"pyproject.toml", "README.md", "my_lab/models.py", "tests/test_my_lab.py"}
    project = tomllib.loads((tmp_path / "my-lab" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "my-lab"
    (entry,) = project["entry-points"]["stepsize.models"].items()
    assert entry == ("my-lab-net", "my_lab.models:net")
    for path in tmp_path.rglob("*.py"):
        ast.parse(path.read_text())
        assert "$" not in path.read_text()


@pytest.mark.parametrize("name", ["My-Lab", "my_lab", "../x", "-x", "x-", "1x", "a" * 41, "a--b"])
def test_names_that_make_no_package_are_refused(tmp_path: Path, name: str) -> None:
    code, _ = new(tmp_path, name)
    assert code != 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my-lab").mkdir()
    assert new(tmp_path, "my-lab")[0] == 1
    assert list((tmp_path / "my-lab").iterdir()) == []
