"""Backups of an embedded service: whole, of one moment, and refused where they are not."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from migrations.run import upgrade
from store import backups, checkpoints, jobs, leases
from store.backups import BackupError
from store.checkpoints import Saved
from store.database import connect
from store.files import Directory
from store.leases import Lease, Progress
from tests.factories import claimed, queued

MINUTE = timedelta(minutes=1)


@dataclass
class Place:
    """A data directory with one running job, whose checkpoints are written by hand."""

    folder: Path
    saved: int = 0
    lease: Lease = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = connect(f"sqlite:///{self.folder / 'stepsize.db'}")
        upgrade(self.sessions)
        queued(self.sessions)
        self.lease = claimed(self.sessions)
        self.files = Directory(self.folder / "checkpoints")

    def checkpoint(self) -> str:
        """Saves the next one, and removes those that it makes superfluous, as a worker does."""
        self.saved += 1
        content = f"state {self.saved}".encode()
        name = f"{self.lease.job_id}/1-{self.saved}.ckpt"
        self.files.write(name, content)
        digest = hashlib.sha256(content).hexdigest()
        saved = Saved(self.saved, name, len(content), digest, lasting=False)
        with self.sessions.begin() as tx:
            done = leases.record(tx, [Progress(self.lease, self.saved, (), [saved])], extend=MINUTE)
        for each in done.superseded:
            self.files.remove(each)
        return name


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "data").mkdir()
    place = Place(tmp_path / "data")
    for _ in range(3):
        place.checkpoint()
    for name in ("logs/api.log", "run/broker.sock", "snapshots/job_x/1.pt", "arrays/mine/a.npy"):
        path = place.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (place.folder / "snapshots/job_x/2.0a.tmp").write_text("being written")
    yield place
    place.sessions.close()


def listed(folder: Path) -> set[str]:
    return {name for name in Directory(folder).names() if not name.startswith("stepsize.db")}


def test_a_backup_is_put_back_whole(place: Place, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy", tmp_path / "again"
    done = backups.back_up(place.folder, copy, checkpoints=place.files)
    job = place.lease.job_id
    data = {"snapshots/job_x/1.pt", "arrays/mine/a.npy"}
    kept = {f"checkpoints/{job}/1-{iteration}.ckpt" for iteration in (2, 3)}
    assert listed(copy) == data | kept | {"backup.json"}
    assert (done.files, done.lost) == (5, [])
    place.checkpoint()  # the service goes on; the copy does not
    target = Directory(again / "checkpoints")
    assert backups.restore(copy, again, checkpoints=target).files == 5
    assert listed(again) == data | kept
    sessions = connect(f"sqlite:///{again / 'stepsize.db'}")
    with sessions.read() as tx:
        found = jobs.get(tx, job)
        assert (found.state, found.iteration, found.checkpoint) == ("running", 3, 3)
        for each in checkpoints.find(tx, job):
            assert hashlib.sha256(target.read(each.file)).hexdigest() == each.sha256
    sessions.close()


class Racing(Directory):
    """Checkpoints that are saved and pruned whenever one is about to be read."""

    def __init__(self, place: Place, *, times: int) -> None:
        super().__init__(place.folder / "checkpoints")
        self._place = place
        self._times = times

    def read(self, name: str) -> bytes:
        if self._times:
            self._times -= 1
            for _ in range(2):
                self._place.checkpoint()
        return super().read(name)


def test_what_is_pruned_meanwhile_is_made_good(place: Place, tmp_path: Path) -> None:
    racing = Racing(place, times=2)
    done = backups.back_up(place.folder, tmp_path / "copy", checkpoints=racing)
    assert done.lost == []
    job = place.lease.job_id
    # those of the copy that counts, and none of the copies before it
    assert {each for each in listed(tmp_path / "copy") if "ckpt" in each} == {
        f"checkpoints/{job}/1-{iteration}.ckpt" for iteration in (6, 7)
    }


def test_what_is_lost_is_named(place: Place, tmp_path: Path) -> None:
    name = place.checkpoint()
    place.files.remove(name)
    done = backups.back_up(place.folder, tmp_path / "copy", checkpoints=place.files)
    assert done.lost == [name]
    again = tmp_path / "again"
    backups.restore(tmp_path / "copy", again, checkpoints=Directory(again / "checkpoints"))
    assert (again / "stepsize.db").exists()


def _without_list(copy: Path) -> None:
    (copy / "backup.json").unlink()


def _of_another_layout(copy: Path) -> None:
    made = json.loads((copy / "backup.json").read_text())
    (copy / "backup.json").write_text(json.dumps({**made, "version": 2}))


def _with_another_byte(copy: Path) -> None:
    with (copy / "stepsize.db").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")


def _without_a_file(copy: Path) -> None:
    (copy / "arrays/mine/a.npy").unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_without_list, "no backup, or not a whole one"),
        (_of_another_layout, "layout 2, not 1"),
        (_with_another_byte, "stepsize.db is damaged"),
        (_without_a_file, "a.npy is missing"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused(
    place: Place, tmp_path: Path, harm: Callable[[Path], None], why: str
) -> None:
    copy, again = tmp_path / "copy", tmp_path / "again"
    backups.back_up(place.folder, copy, checkpoints=place.files)
    harm(copy)
    with pytest.raises(BackupError, match=why):
        backups.restore(copy, again, checkpoints=Directory(again / "checkpoints"))
    assert not again.exists()


def test_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    backups.back_up(place.folder, copy, checkpoints=place.files)
    with pytest.raises(BackupError, match="is not empty"):
        backups.back_up(place.folder, copy, checkpoints=place.files)
    with pytest.raises(BackupError, match="would hold itself"):
        backups.back_up(place.folder, place.folder / "backups", checkpoints=place.files)
    with pytest.raises(BackupError, match="has a database already"):
        backups.restore(copy, place.folder, checkpoints=place.files)
    with pytest.raises(BackupError, match=r"there is no .*stepsize\.db"):
        backups.back_up(tmp_path / "empty", tmp_path / "other", checkpoints=place.files)


def test_a_copy_is_one_file_that_is_sound(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    backups.back_up(place.folder, copy, checkpoints=place.files)
    assert [each.name for each in copy.glob("stepsize.db*")] == ["stepsize.db"]
    found = sqlite3.connect(copy / "stepsize.db").execute("PRAGMA integrity_check").fetchone()
    assert found == ("ok",)
