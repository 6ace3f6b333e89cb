#!/usr/bin/env python3
"""Prints what an extra of pyproject.toml needs, to be installed before the source is there."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extra: str) -> Iterator[str]:
    """The extra's requirements; where it names other extras of the project, theirs."""
    for requirement in project["optional-dependencies"][extra]:
        if own := re.fullmatch(rf"{project['name']}\[(.+)\]", requirement):
            for name in own[1].split(","):
                yield from requirements(project, name.strip())
        else:
            yield requirement


if __name__ == "__main__":
    described = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    for line in (*described["dependencies"], *requirements(described, sys.argv[1])):
        sys.stdout.write(f"{line}\n")
