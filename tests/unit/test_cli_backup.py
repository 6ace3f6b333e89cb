"""The commands that back up and restore, where they cannot."""

from pathlib import Path

import pytest

from migrations.run import upgrade
from stepsize.datadir import held
from store.database import connect
from tests.factories import claimed, queued, record, saved
from tests.unit.conftest import Run


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    sessions = connect(f"sqlite:///{folder / 'stepsize.db'}")
    upgrade(sessions)
    sessions.close()
    return folder


def test_a_copy_is_made_and_put_back(run: Run, data_dir: Path, tmp_path: Path) -> None:
    copy, again = str(tmp_path / "copy"), str(tmp_path / "again")
    done = run("backup", copy, "--data-dir", str(data_dir))
    assert (done.exit_code, "1 file, " in done.stdout) == (0, True)
    done = run("restore", copy, "--data-dir", again)
    assert done.exit_code == 0
    assert (tmp_path / "again" / "stepsize.db").is_file()
    done = run("restore", copy, "--data-dir", again)
    assert done.exit_code == 1
    assert "has a database already: restore into another directory" in done.stderr


def test_a_wrong_directory_is_named(run: Run, tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "nowhere"))
    assert done.exit_code == 1
    assert "which data directory is it?" in done.stderr
    assert not (tmp_path / "copy").exists()


def test_nothing_is_restored_under_a_running_service(
    run: Run, data_dir: Path, tmp_path: Path
) -> None:
    run("backup", str(tmp_path / "copy"), "--data-dir", str(data_dir))
    with held(data_dir, url="http://127.0.0.1:8000"):
        done = run("restore", str(tmp_path / "copy"), "--data-dir", str(data_dir))
    assert done.exit_code == 1
    assert "is in use by the stepsize service" in done.stderr


def test_what_was_lost_before_is_said(run: Run, data_dir: Path, tmp_path: Path) -> None:
    sessions = connect(f"sqlite:///{data_dir / 'stepsize.db'}")
    queued(sessions)
    record(sessions, claimed(sessions), 5, checkpoints=[saved(5)])
    sessions.close()
    done = run("backup", str(tmp_path / "copy"), "--data-dir", str(data_dir))
    assert done.exit_code == 0
    assert "not in the backup, since it was not there: checkpoint 1-5.ckpt" in done.stderr
