"""Settings from the environment: complete, sane, and explained where they are not."""

from datetime import timedelta

import pytest

from spec.settings import Settings, SettingsError

GOOD = {
    "STEPSIZE_DATABASE_URL": "sqlite:////tmp/stepsize.db",
    "STEPSIZE_BROKER_URL": "redis://localhost:6379/0",
}


def test_defaults() -> None:
    settings = Settings.read(GOOD | {"PATH": "/bin"})
    assert (settings.host, settings.port, settings.queues) == ("127.0.0.1", 8000, ("default",))
    assert settings.lease == timedelta(seconds=60)
    assert settings.data_dir.is_absolute()


def test_queues_by_commas() -> None:
    assert Settings.read(GOOD | {"STEPSIZE_QUEUES": "default, gpu"}).queues == ("default", "gpu")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STEPSIZE_DATABASE_URL", "mysql://x"),
        ("STEPSIZE_DATABASE_URL", "sqlite:///:memory:"),
        ("STEPSIZE_DATABASE_URL", "sqlite:///"),
        ("STEPSIZE_BROKER_URL", "amqp://x"),
        ("STEPSIZE_PORT", "99999"),
        ("STEPSIZE_API_KEY", "short"),
        ("STEPSIZE_API_KEY", "0123456789abcdef\n"),
        ("STEPSIZE_API_KEY", "ключ-0123456789abcdef"),
        ("STEPSIZE_QUEUES", " , "),
        ("STEPSIZE_QUEUES", "GPU!"),
        ("STEPSIZE_LEASE_SECONDS", "0"),
        ("STEPSIZE_LEASE_SECONDS", "nan"),
        ("STEPSIZE_HEARTBEAT_SECONDS", "31"),
        ("STEPSIZE_MAX_CRASHES", "0"),
        ("STEPSIZE_LOG", "xml"),
        ("STEPSIZE_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_what_cannot_work_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        Settings.read(GOOD | {variable: value})


def test_a_lease_too_short_for_the_heartbeat() -> None:
    with pytest.raises(SettingsError, match=r"HEARTBEAT_SECONDS.*half of STEPSIZE_LEASE_SECONDS"):
        Settings.read(GOOD | {"STEPSIZE_LEASE_SECONDS": "5"})


def test_everything_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL[^$]*BROKER_URL"):
        Settings.read({})


def test_networks_by_commas() -> None:
    assert Settings.read(GOOD).webhooks_private == ()
    both = "10.1.2.0/24, fd00::/8"
    settings = Settings.read(GOOD | {"STEPSIZE_WEBHOOKS_PRIVATE": both})
    assert [str(each) for each in settings.webhooks_private] == ["10.1.2.0/24", "fd00::/8"]
    for wrong in ("true", "10.1.2.3/24", "localhost"):
        with pytest.raises(SettingsError, match="STEPSIZE_WEBHOOKS_PRIVATE"):
            Settings.read(GOOD | {"STEPSIZE_WEBHOOKS_PRIVATE": wrong})


def test_origins_by_commas() -> None:
    assert Settings.read(GOOD).cors_origins == ()
    both = "https://notes.example, http://localhost:3000"
    settings = Settings.read(GOOD | {"STEPSIZE_CORS_ORIGINS": both})
    assert settings.cors_origins == ("https://notes.example", "http://localhost:3000")
    for wrong in ("*", "notes.example", "https://notes.example/", "https://*.example"):
        with pytest.raises(SettingsError, match="STEPSIZE_CORS_ORIGINS"):
            Settings.read(GOOD | {"STEPSIZE_CORS_ORIGINS": wrong})


def test_a_collector_by_either_name() -> None:
    others = GOOD | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://others:4318"}
    assert Settings.read(GOOD).otlp_endpoint is None
    assert Settings.read(GOOD | {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}).otlp_endpoint is None
    assert Settings.read(others).otlp_endpoint == "http://others:4318"
    own = others | {"STEPSIZE_OTLP_ENDPOINT": "http://ours:4318"}
    assert Settings.read(own).otlp_endpoint == "http://ours:4318"


def test_secrets_are_known_as_they_are_written_and_as_they_are() -> None:
    settings = Settings.read(
        {
            "STEPSIZE_DATABASE_URL": "postgresql://stepsize:p%40ss@db/stepsize",
            "STEPSIZE_BROKER_URL": "redis://:br0ker@host/0",
            "STEPSIZE_API_KEY": "0123456789abcdef",
        }
    )
    assert set(settings.secrets) == {"p%40ss", "p@ss", "br0ker", "0123456789abcdef"}
