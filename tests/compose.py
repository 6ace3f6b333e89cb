"""docker-compose.yml as Compose reads it: parsed, with its variables in their place."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
SECRETS = {"database_password": "p@ss/w:rd %", "api_key": "0123456789abcdef"}
MOUNTED = "/run/secrets/"
WORKERS = ("worker", "worker-gpu")


def resolved(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with its variables in their place, as Compose does it."""

    def known(match: re.Match[str]) -> str:
        name, default = match.groups()
        return variables.get(name) or default

    match value:
        case str():
            return VARIABLE.sub(known, value)
        case list():
            return [resolved(each, variables) for each in value]
        case dict():
            return {name: resolved(each, variables) for name, each in value.items()}
    return value


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = resolved(yaml.safe_load(COMPOSE), variables)["services"]
    return found


SERVICES = services({})
