"""How the tables of the speed scripts are printed, and what is said about the machine."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = Sequence[str]

WIDE = 160
"""Columns, where nobody says how many there are."""


def show(
    title: str, headers: Row, rows: Sequence[Row], *, notes: Sequence[str], markdown: bool
) -> None:
    """Print a table, for people or for a document; the first column is text, the others numbers."""
    if markdown:
        print(f"{title}\n")
        for line in (headers, ["---", *["---:"] * (len(headers) - 1)], *rows):
            print(f"| {' | '.join(line)} |")
        print("", *notes, "", sep="\n")
        return
    table = Table(title=title, title_justify="left")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    console.print()


def machine(*more: str) -> str:
    """The processor, its cores, torch, and what else is to be said."""
    cores = f"{len(os.sched_getaffinity(0))} cores"
    return ", ".join((f"torch {version('torch')}", _processor(), cores, *more))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
