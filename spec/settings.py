"""The settings of server and worker, read from the environment in one place per process."""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from spec.needs import Label
from spec.values import Identifier, JobId

PREFIX = "STEPSIZE_"

ALSO = {"otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT"}
"""Field -> the variable by which others know the same; our own wins."""

IN_FILE = "_FILE"
"""After the name of a variable: its value is the path of a file that holds the setting."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that only this machine reaches."""


class SettingsError(Exception):
    """A variable of the environment is missing or wrong."""


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _by_commas(value: object) -> object:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


Seconds = Annotated[float, Field(gt=0, le=86_400)]


class DatabaseSettings(BaseModel):
    """Each field is the variable of the same name in capitals, after STEPSIZE_.

    With _FILE after it, the variable names a file that holds the value instead, as secrets are
    given to containers.
    """

    model_config = ConfigDict(frozen=True, validate_default=True)

    database_password: Annotated[
        str | None,
        Field(
            min_length=1,
            repr=False,
            description="the password for the database, where its URL has none",
        ),
    ] = None
    database_url: Annotated[
        str,
        Field(
            pattern=r"^(sqlite:///[^:]|postgres(ql)?(\+psycopg)?://.)",
            repr=False,  # it may have a password in it
            description="where SQL lives: sqlite:////path or postgresql://user:password@host/name",
        ),
    ]

    @field_validator("database_url")
    @classmethod
    def _with_password(cls, url: str, info: ValidationInfo) -> str:
        password = info.data.get("database_password")
        if password is None:
            return url
        parts = urlsplit(url)
        if parts.scheme == "sqlite" or parts.username is None or parts.password is not None:
            raise PydanticCustomError(
                "password", "must name a user and no password beside STEPSIZE_DATABASE_PASSWORD"
            )
        user, at, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}:{quote(password, safe='')}{at}{host}").geturl()

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Settings from variables such as those of `os.environ`.

        Raises:
            SettingsError: naming each variable that is missing or wrong.
        """
        found = {field: _told(environ, _variable(field)) for field in cls.model_fields}
        for field, name in ALSO.items():
            if field in found and found[field] is None:
                found[field] = environ.get(name) or None
        try:
            return cls.model_validate({k: v for k, v in found.items() if v is not None})
        except ValidationError as error:
            wrong = [_explained(cls, str(each["loc"][0]), each["msg"]) for each in error.errors()]
            raise SettingsError("\n".join(["the environment is not right:", *wrong])) from error


class Settings(DatabaseSettings):
    """What server and workers are told."""

    broker_url: Annotated[
        str,
        Field(
            pattern=r"^(rediss?://|redis\+socket:///)",
            description="Redis or Valkey: redis://host:6379/0 or redis+socket:////path",
        ),
    ]
    data_dir: Annotated[
        Path,
        Field(description="data sets and files"),
        AfterValidator(Path.absolute),
    ] = Path("stepsize-data")
    host: Annotated[str, Field(description="address the API listens on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535, description="port of the API; 0 picks one")] = 8000
    api_key: Annotated[
        str | None,
        Field(
            min_length=16,
            repr=False,
            pattern=r"^[\x21-\x7e]*$",  # what a header can carry
            description="a key with every scope, beside those in the database",
        ),
    ] = None
    require_key: Annotated[
        bool, Field(description="ask for a key on the loopback too, say behind a proxy")
    ] = False
    requests_per_minute: Annotated[
        int, Field(ge=1, le=10_000_000, description="how often one key may ask one API process")
    ] = 6000
    cors_origins: Annotated[
        tuple[Annotated[str, Field(pattern=r"^https?://[^\s/*,]+$")], ...],
        BeforeValidator(_by_commas),
        Field(description="whose pages may ask the API from a browser: origins, by commas"),
    ] = ()
    webhooks_private: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        BeforeValidator(_by_commas),
        Field(description="networks that webhooks may lead to though not public, by commas"),
    ] = ()
    queues: Annotated[
        tuple[Identifier, ...],
        BeforeValidator(_by_commas),
        Field(min_length=1, description="queues a worker serves, by commas"),
    ] = ("default",)
    labels: Annotated[
        tuple[Label, ...],
        BeforeValidator(_by_commas),
        Field(description="that jobs may ask of a worker in `needs`, by commas, as nvme,rack=7"),
    ] = ()
    device: Annotated[str, Field(description="cpu, cuda or cuda:N; auto picks")] = "auto"
    gpus: Annotated[
        int, Field(ge=1, le=64, description="that a job of this worker may use, from its device on")
    ] = 1
    per_gpu: Annotated[
        int, Field(ge=1, le=64, description="workers that share the memory of a GPU")
    ] = 1
    lease_seconds: Annotated[Seconds, Field(description="how long a silent worker keeps a job")] = (
        60
    )
    heartbeat_seconds: Annotated[Seconds, Field(description="how often a lease is renewed")] = 10
    reconcile_seconds: Annotated[
        Seconds, Field(description="how often lost jobs are looked for")
    ] = 5
    max_crashes: Annotated[
        int,
        Field(ge=1, le=1000, description="lost leases after which a job has failed"),
    ] = 3

    checkpoint_seconds: Annotated[
        Seconds, Field(description="how often a running job is checkpointed")
    ] = 60
    checkpoint_url: Annotated[
        str | None,
        Field(
            min_length=1,
            description="where checkpoints lie: a directory, or any URL of fsspec such as"
            " s3://bucket/prefix; unset: checkpoints/ in the data directory",
        ),
        AfterValidator(lambda place: None if place is None else _absolute(place)),
    ] = None
    stall_seconds: Annotated[
        Seconds,
        Field(description="without any progress for so long a job counts as stalled"),
    ] = 900
    log: Annotated[
        Literal["text", "json"],
        Field(description="form of log records: text for people, json for machines"),
    ] = "text"
    otlp_endpoint: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s/]",
            description="where traces are sent, by OTLP over HTTP: http://collector:4318; unset:"
            " OTEL_EXPORTER_OTLP_ENDPOINT, or none are made",
        ),
    ] = None

    @field_validator("heartbeat_seconds")
    @classmethod
    def _often_enough(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds")
        if lease is not None and value > lease / 2:
            raise PydanticCustomError("heartbeat", "must be at most half of STEPSIZE_LEASE_SECONDS")
        return value

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """What must not be told to anybody."""
        found = [urlsplit(url).password or "" for url in (self.database_url, self.broker_url)]
        return (self.api_key, *found, *map(unquote, found))

    @property
    def wants_key(self) -> bool:
        """Whether nobody may ask without one."""
        return self.require_key or self.api_key is not None or self.host not in LOOPBACK

    @property
    def lease(self) -> timedelta:
        """How long a job stays with a worker that is not heard of."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def checkpoints(self) -> str:
        """The directory or URL that checkpoints lie in."""
        return self.checkpoint_url or str(self.data_dir / "checkpoints")

    def snapshots(self, job_id: JobId) -> Path:
        """Where the files of a job's snapshots are."""
        return self.data_dir / "snapshots" / job_id


def _variable(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def _told(environ: Mapping[str, str], name: str) -> str | None:
    """A variable's value, or that of the file it names; an empty name of a file is none."""
    path = environ.get(name + IN_FILE)
    if not path:
        return environ.get(name)
    if name in environ:
        raise SettingsError(f"{name} and {name}{IN_FILE} are both set: keep one of them")
    try:
        return Path(path).read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}{IN_FILE} names a file that cannot be read: {error}") from error


def _explained(settings: type[BaseModel], field: str, message: str) -> str:
    meaning = settings.model_fields[field].description
    return f"  {_variable(field)} ({meaning}): {message}"
