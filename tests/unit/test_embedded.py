"""What the processes of the embedded service are told."""

from pathlib import Path

import pytest

from spec.settings import Settings
from stepsize import embedded
from stepsize.embedded import Place


def test_settings_of_another_deployment_do_not_reach_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEPSIZE_DATABASE_URL_FILE", "/run/secrets/url")
    monkeypatch.setenv("STEPSIZE_DATABASE_PASSWORD", "theirs")
    monkeypatch.setenv("STEPSIZE_BROKER_URL", "redis://theirs")
    (tmp_path / "key").write_text("0123456789abcdef")
    monkeypatch.setenv("STEPSIZE_API_KEY_FILE", str(tmp_path / "key"))
    told = embedded._environment(Place(tmp_path), tmp_path, "redis+socket:///here")
    settings = Settings.read(told)
    assert settings.database_url == f"sqlite:///{tmp_path / 'stepsize.db'}"
    assert settings.broker_url == "redis+socket:///here"
    assert settings.api_key == "0123456789abcdef"
