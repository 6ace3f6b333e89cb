"""Copies an embedded service's data while it runs, and puts a copy back: `python -m store.backups`.

What belongs together is the database at one moment, each file that a row of it points to, and the
data sets. A backup is a directory of these and a list of them, written last.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from store.files import PARTIAL, Directory, Files, FilesError, opened

DATABASE = "stepsize.db"
LIST = "backup.json"
CHECKPOINTS = "checkpoints"

VERSION = 1
"""Of the layout of a backup."""

TRIES = 5

_PASSING = frozenset({DATABASE, "logs", "run", "up.lock", CHECKPOINTS})
"""In the data directory, but not copied as they are; nor is what SQLite keeps beside its file."""


class BackupError(Exception):
    """A backup cannot be made, or cannot be put back."""


@dataclass(frozen=True)
class Copied:
    """What a backup holds.

    Attributes:
        files: how many, the database included.
        bytes: all of them.
        lost: checkpoints that rows point to and that were not there, or were damaged.
    """

    files: int
    bytes: int
    lost: list[str]


def back_up(data_dir: Path, to: Path, *, checkpoints: Files) -> Copied:
    """Copies everything into an empty or new directory; the service may run meanwhile.

    Checkpoints are pruned while they are copied. Where one has gone that the copy of the database
    still points to, the database is copied once more, and then what is new.

    Raises:
        BackupError: there is nothing to copy, or the place is taken.
    """
    if not (data_dir / DATABASE).is_file():
        raise BackupError(f"there is no {data_dir / DATABASE}: which data directory is it?")
    if to.resolve().is_relative_to(data_dir.resolve()):
        raise BackupError(f"{to} lies in {data_dir}: a backup of it would hold itself")
    if to.exists() and any(to.iterdir()):
        raise BackupError(f"{to} is not empty: a backup wants a directory of its own")
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = Directory(to / CHECKPOINTS)
    for _ in range(TRIES):
        _copy_database(data_dir / DATABASE, to / DATABASE)
        wanted = _wanted(to / DATABASE)
        lost = [
            name for name, digest in wanted.items() if not _kept(name, digest, checkpoints, kept)
        ]
        if not lost:
            break
    for name in set(kept.names()) - wanted.keys():
        kept.remove(name)
    for relative in _others(data_dir):
        _copy(data_dir / relative, to / relative)
    sums = {name: _digest(to / name) for name in _names(to)}
    size = sum((to / name).stat().st_size for name in sums)
    made = {"version": VERSION, "made_at": datetime.now(UTC).isoformat(), "sha256": sums}
    Directory(to).write(LIST, json.dumps(made, indent=1).encode())
    return Copied(len(sums), size, sorted(lost))


def restore(source: Path, data_dir: Path, *, checkpoints: Files) -> Copied:
    """Puts a backup into a data directory that has no database yet, once all of it is known good.

    Raises:
        BackupError: it is not a whole backup, or the place is taken.
    """
    try:
        made: dict[str, Any] = json.loads((source / LIST).read_bytes())
    except FileNotFoundError as error:
        raise BackupError(f"{source} has no {LIST}: it is no backup, or not a whole one") from error
    if made["version"] != VERSION:
        raise BackupError(f"{source} is a backup of layout {made['version']}, not {VERSION}")
    if (data_dir / DATABASE).exists():
        raise BackupError(f"{data_dir} has a database already: restore into another directory")
    sums: dict[str, str] = made["sha256"]
    for name, digest in sums.items():
        _check(source / name, digest)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in sorted(sums, key=lambda name: name == DATABASE):  # the database comes last
        path = PurePosixPath(name)
        if path.parts[0] == CHECKPOINTS:
            checkpoints.write(str(path.relative_to(CHECKPOINTS)), (source / name).read_bytes())
        else:
            _copy(source / name, data_dir / name)
    return Copied(len(sums), sum((source / name).stat().st_size for name in sums), [])


def _copy_database(source: Path, to: Path) -> None:
    """One moment of it, through SQLite itself: the file alone is not all of a database."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(to)) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, complete


def _wanted(database: Path) -> dict[str, str]:
    """The files that rows point to, with their checksums."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        return dict(copy.execute("SELECT file, sha256 FROM checkpoints").fetchall())


def _kept(name: str, digest: str, source: Files, kept: Directory) -> bool:
    """Whether the backup has the file as its row describes it; copies it where it has not."""
    try:
        if hashlib.sha256(kept.read(name)).hexdigest() == digest:
            return True
    except FileNotFoundError:
        pass
    try:
        content = source.read(name)
    except FileNotFoundError:
        return False
    kept.write(name, content)
    return hashlib.sha256(content).hexdigest() == digest


def _others(data_dir: Path) -> Iterator[Path]:
    for name in _names(data_dir):
        path = PurePosixPath(name)
        if path.parts[0] in _PASSING or path.suffix == PARTIAL:
            continue
        if path.parts[0].startswith(f"{DATABASE}-"):
            continue
        yield Path(name)


def _names(folder: Path) -> list[str]:
    return Directory(folder).names()


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy2(source, to)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, digest: str) -> None:
    try:
        found = _digest(path)
    except FileNotFoundError as error:
        raise BackupError(f"{path} is missing: the backup is not whole") from error
    if found != digest:
        raise BackupError(f"{path} is damaged: its checksum is another")


ACTIONS: dict[str, Callable[..., Copied]] = {"backup": back_up, "restore": restore}


def main(action: str, first: str, second: str) -> int:
    """`backup DATA_DIR TO` or `restore FROM DATA_DIR`; prints what was copied, as JSON."""
    source, to = Path(first).absolute(), Path(second).absolute()
    data_dir = source if action == "backup" else to
    place = os.environ.get("STEPSIZE_CHECKPOINT_URL") or str(data_dir / CHECKPOINTS)
    try:
        done = ACTIONS[action](source, to, checkpoints=opened(place))
    except (BackupError, FilesError, OSError, sqlite3.Error) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 1
    print(json.dumps(asdict(done)))  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
