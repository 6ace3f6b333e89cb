"""What `--help` says of every command teaches: each option, and an example that could be typed."""

import re
from typing import Any

import pytest

from tests.commands import every, wrong

COMMANDS = dict(every())


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_an_example_that_could_be_typed(words: str) -> None:
    told = " ".join((COMMANDS[words].help or "").split())
    _, found, example = told.partition("Example:")
    assert found, f"{words} --help has no example"
    example = re.sub(r"\[/?(?:bold)?\]|\\(?=[\[ ])", "", example).strip()
    assert words in example
    assert not wrong(example)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_is_explained(words: str) -> None:
    command: Any = COMMANDS[words]
    assert [each.name for each in command.params if not getattr(each, "help", None)] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("id=$(stepsize submit a.yaml) && stepsize watch $id", ""),
        ("stepsize webhooks list", ""),
        ("stepsize watch ID && stepsize wotch ID", "there is no `stepsize wotch`"),
        ("stepsize keys create ada --ouner x", "there is no --ouner in `stepsize keys create ada"),
    ],
)
def test_what_there_is_not_is_noticed(line: str, said: str) -> None:
    assert wrong(line).startswith(said)
    assert bool(wrong(line)) == bool(said)
