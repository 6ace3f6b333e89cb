"""Log records: one line each, whose they are, and no secrets in them."""

import logging
import threading
from contextvars import copy_context
from datetime import datetime

import pytest

from telemetry import context
from telemetry.logs import HIDDEN
from tests.logged import logged

log = logging.getLogger("worker.running")

LIBRARIES = ["uvicorn.error", "celery.worker", "kombu"]
KEY = "ss_0123456789ab_" + "0123456789abcdef" * 3


def test_a_record_says_whose_it_is() -> None:
    with logged() as written, context.about(job="job_1", attempt=2, owner="ada", worker=None):
        log.info("job.claimed job=%s", "job_1")
        with context.about(request_id="r1", attempt=3):
            log.warning("job.failing")
    first, second = written.records
    assert first.pop("ts")
    assert first == {
        "level": "INFO",
        "logger": "worker.running",
        "message": "job.claimed job=job_1",
        "job": "job_1",
        "attempt": 2,
        "owner": "ada",
    }
    assert (second["request_id"], second["attempt"], second["level"]) == ("r1", 3, "WARNING")
    assert datetime.fromisoformat(second["ts"]).utcoffset() is not None


def test_outside_of_the_block_it_is_nobodys() -> None:
    with logged() as written:
        with context.about(job="job_1"):
            pass
        log.info("idle")
    assert "job" not in written.records[0]


def test_what_is_asked_of_a_thread_is_about_the_same() -> None:
    with logged() as written, context.about(job="job_1"):
        for target in (copy_context().run, lambda act: act()):
            thread = threading.Thread(target=target, args=(lambda: log.info("beat"),))
            thread.start()
            thread.join()
    assert [each.get("job") for each in written.records] == ["job_1", None]


def test_what_the_process_is_about_holds_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_process", {})
    context.always(worker="cpu-1@host", job=None)
    with logged() as written:
        thread = threading.Thread(target=log.info, args=("beat",))
        thread.start()
        thread.join()
    assert written.records[0]["worker"] == "cpu-1@host"


def test_an_error_is_one_line_with_its_trace() -> None:
    with logged() as written:
        log.error("job.failed", exc_info=ValueError("what is\nwrong"))
    (record,) = written.records
    assert record["exception"].endswith("ValueError: what is\nwrong")


def test_text_tells_what_the_message_does_not() -> None:
    with logged("text") as written, context.about(job="job_1", owner="ada"):
        log.info("job.claimed job=%s", "job_1")
    line = written.text
    assert line.endswith(" INFO worker.running job.claimed job=job_1 owner=ada\n")


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x85b", "a\u2028b"])
def test_nobody_adds_a_line_to_the_log(evil: str) -> None:
    with logged("text") as written:
        log.info("request %s", evil)
    assert len(written.text.splitlines()) == 1
    assert "\x1b" not in written.text
    with logged() as written:
        log.info("request %s", evil)
    assert len(written.records) == 1
    assert written.records[0]["message"] == f"request {evil}"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("told", "secret"),
    [
        (f"key {KEY}", KEY[20:]),
        (f"Authorization: Bearer {KEY}", KEY[20:]),
        ("authorization: bearer abcdefghijkl", "abcdefghijkl"),
        ("{'cookie': 'stepsize_key=whatever; a=b'}", "whatever"),
        ("Cookie: stepsize_key=whatever", "whatever"),
        ("signing with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKY"),
        ("cannot reach postgresql://stepsize:hunter2@db/stepsize", "hunter2"),
        ("redis://:hunter2@broker:6379/0 is away", "hunter2"),
        ("password=hunter2 host=db", "hunter2"),
        ("STEPSIZE_API_KEY=hunter2hunter2hunter2", "hunter2"),
        ("it is of-the-environment, really", "of-the-environment"),
    ],
)
def test_secrets_are_hidden(form: str, told: str, secret: str) -> None:
    assert secret in told
    with logged("json" if form == "json" else "text", "of-the-environment", "short") as written:
        log.warning("%s", told)
        log.error("failed short", exc_info=RuntimeError(told))
        with context.about(request_id=told):
            log.info("asked")
    assert secret not in written.text
    assert written.text.count(HIDDEN) >= 3
    assert "short" in written.text


def test_what_is_no_secret_stays() -> None:
    told = "job.claimed job=job_1 http://127.0.0.1:8000/v1/jobs tokens of lease_1 bearer"
    with logged() as written:
        log.info(told)
    assert written.records[0]["message"] == told


def test_libraries_write_in_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("uvicorn.error", "celery.worker", "kombu")
    with logged() as written:
        for name in names:
            # a server that ran in this process before may have taken these out
            parts = name.split(".")
            for each in (".".join(parts[: n + 1]) for n in range(len(parts))):
                monkeypatch.setattr(logging.getLogger(each), "propagate", True)
                monkeypatch.setattr(logging.getLogger(each), "disabled", False)
            logging.getLogger(name).warning("starting")
    assert [each["logger"] for each in written.records] == [
        "uvicorn.error",
        "celery.worker",
        "kombu",
    ]
