"""Every block of the documents is run by a test, or says why not; data is what it says it is."""

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from api.answers import JobPreviewOut, WaitingOut
from api.keys import KeySpec
from schedules import Policy
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.recipes import ANY_SWEEP, RecipeSpec
from spec.sweeps import SweepSpec
from stepsize.specs import parse_spec
from stepsize.sweep_values import Sweep
from stepsize.values import Attempt, Change, Job, Suggestion
from tests.commands import wrong
from tests.compose import SERVICES
from tests.documents import BLOCKS, DATA, NOT_RUN, PAGES, ROOT, RUN, Block, read, run_by, with_words

SPECS: dict[str, type[BaseModel]] = {
    "range_test": RangeTestSpec,
    "training": TrainingSpec,
    "sweep": SweepSpec,
    "recipe": RecipeSpec,
}
WHOLE: dict[str, Any] = {
    "kind": "training",
    "model": {"name": "mlp"},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd"},
    "schedule": {"policy": "constant", "lr": 0.1},
    "length": {"epochs": 1},
}
PARSERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: parse_spec(text, source="the block"),
}
GROUPS = {f"stepsize.{kind}" for kind in ("models", "datasets", "losses", "metrics", "optimizers")}
"""Of entry points."""
MISSING = """{block} is run by no test. Either
- a test runs it: name that in RUN of tests/documents.py, and let it take `texts`, or
- nothing can: say why in NOT_RUN of tests/documents.py."""


def check(value: dict[str, Any]) -> None:
    """Reads it as what it is; of answers, as the client does."""
    match value:
        case {"kind": kind}:
            SPECS[kind].model_validate(value)
        case {"template": {"kind": _}} | {"space": _}:
            ANY_SWEEP.validate_python({"template": WHOLE, "space": {"/seed": [0]}} | value)
        case {"template": some}:
            TrainingSpec.model_validate(WHOLE | some)
        case {"policy": _}:
            TypeAdapter(Policy).validate_python(value)
        case {"scopes": _}:
            KeySpec.model_validate(value)
        case {"project": {"entry-points": groups}}:
            assert set(groups) <= GROUPS
        case {"services": services}:
            for each in services.values():
                assert each["extends"]["file"] == "docker-compose.yml"
                assert each["extends"]["service"] in SERVICES
        case _:
            check_answer(value)


def check_answer(value: dict[str, Any]) -> None:
    """Reads it as the client does; what is no answer is a part of a training."""
    match value:
        case {"suggestion": suggestion, "range": _}:
            Suggestion.model_validate(suggestion)
        case {"promised": _}:
            sweep = Sweep.model_validate(value)
            assert sweep.best is not None
        case {"attempts": attempts, "history": history}:
            TypeAdapter(list[Attempt]).validate_python(attempts)
            TypeAdapter(list[Change]).validate_python(history)
        case {"valid": _, "problems": _}:
            JobPreviewOut.model_validate(value)
        case {"waiting": waiting}:
            WaitingOut.model_validate(waiting)
        case {"title": _, "status": status, "errors": errors}:
            assert (status, set(errors[0])) == (422, {"pointer", "detail"})
        case {"type": event, "data": {"job": job}}:
            assert event == f"job.{Job.model_validate(job).state}"
        case _:
            TrainingSpec.model_validate(WHOLE | value)


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in DATA], ids=str)
def test_a_block_of_data_is_what_it_says(block: Block) -> None:
    told = block.text.replace('"..."', '"2026-01-31T12:00:00Z"').replace("_...", "_1")
    check(PARSERS[block.language](told))


def test_a_wrong_block_would_be_found() -> None:
    with pytest.raises(ValueError, match="batch_sise"):
        check({"batch_sise": 32})


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_run_or_says_why_not(block: Block) -> None:
    run = any(block in run_by(test) for test in RUN)
    why = [block in with_words(*named) for named in NOT_RUN]
    assert (block.language in DATA or run) + sum(why) == 1, MISSING.format(block=block)


@pytest.mark.parametrize("test", RUN)
def test_who_is_said_to_run_blocks_takes_them(test: str) -> None:
    for page, words in RUN[test]:
        found = with_words(page, words)
        assert found, f"{page} has no block with {words!r}: see {test} in tests/documents.py"
        assert words.startswith("```") or len(found) == 1, f"{words!r} names several of {page}"
    file, _, name = test.partition("::")
    function = functions(file).get(name)
    assert function, f"there is no {test}: see RUN of tests/documents.py"
    takes = any(each.arg == "texts" for each in function.args.args)
    assert takes or f'run_by("{test}")' in (ROOT / file).read_text(), f"{test} takes no `texts`"


@pytest.mark.parametrize("named", NOT_RUN)
def test_what_is_not_run_is_there(named: tuple[str, str]) -> None:
    assert len(with_words(*named)) == 1, f"{named} is no one block: see NOT_RUN"


@cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / file).read_text())
    return {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}


def test_blocks_are_found_wherever_they_are() -> None:
    page = "```sh\na\n```\n- item\n\n  ~~~~ json\n  ```\n  ~~~~\n```\n\n```\n"
    found = [(each.line, each.language, each.text) for each in read("page", page)]
    assert found == [(1, "sh", "a\n"), (6, "json", "  ```\n"), (9, "", "\n")]
    with pytest.raises(ValueError, match="page:1 has no end"):
        [*read("page", "```sh\na\n")]


def test_an_event_travels_as_shown(texts: list[str]) -> None:
    (text,) = texts
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    assert fields.keys() == {"id", "event", "data"}
    data = json.loads(fields["data"].replace(", ...", "").replace("[...]", "[]"))
    assert data.keys() == {"job", "repeat", "start", "names", "next_start", "columns"}
    assert data["columns"].keys() == {"iteration", *data["names"]}


def test_what_is_to_be_installed_is_there(texts: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in "".join(texts).splitlines():
        if line.startswith("export "):
            continue
        pip, install, option, constraints, target = shlex.split(line, comments=True)
        assert (pip, install, option) == ("pip", "install", "-c")
        assert (ROOT / constraints).is_file()
        found = re.fullmatch(r"\.(?:\[(.+)\])?", target)
        assert found, line
        extras = {each for each in (found[1] or "").split(",") if each}
        assert extras <= project["optional-dependencies"].keys()


def test_commands_of_other_machines_exist(texts: list[str]) -> None:
    """They run until they are stopped, some of them on GPUs: what is shown is that they exist."""
    for line in "".join(texts).splitlines():
        assert not wrong(line), line


def test_a_plug_in_of_the_page_is_one(texts: list[str]) -> None:
    (text,) = texts
    names: dict[str, Any] = {}
    exec(compile(text, "docs/plugins.md", "exec"), names)
    width = inspect.signature(names["net"]).parameters["width"]
    assert (width.kind, width.default) == (inspect.Parameter.KEYWORD_ONLY, 64)


def mentioned() -> list[tuple[str, str]]:
    """Every command that the text of a document names, with the document."""
    found = []
    for path in (each for pattern in PAGES for each in sorted(ROOT.glob(pattern))):
        text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        page = str(path.relative_to(ROOT))
        found += [(page, command) for command in re.findall(r"`(stepsize [^`]+)`", text)]
    return found


@pytest.mark.parametrize(("page", "command"), mentioned())
def test_a_command_in_the_text_exists_with_its_options(page: str, command: str) -> None:
    assert not wrong(command), page
