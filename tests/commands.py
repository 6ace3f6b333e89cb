"""The commands that there are, and whether a line of a shell is one of them."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from stepsize.cli import app

LINE = re.compile(r"(?:^|[(&|] ?|\w=\S+ )(stepsize [^&|<>;)]+)")
"""A command among others of a line."""


def every() -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its words."""

    def of(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, each in command.commands.items():
                yield from of(f"{words} {name}", each)
        else:
            yield words, command

    yield from of("stepsize", get_command(app))


def wrong(line: str) -> str:
    """What there is not, of the commands and options in a line; nothing where all are."""
    for told in LINE.findall(line):
        command: Any = get_command(app)
        words = shlex.split(told)[1:]
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            name = words.pop(0)
            if name not in command.commands:
                return f"there is no `stepsize {name}`"
            command = command.commands[name]
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        for word in words:
            if word.startswith("--") and word.partition("=")[0] not in options | {"--help"}:
                return f"there is no {word} in `{told}`"
    return ""
