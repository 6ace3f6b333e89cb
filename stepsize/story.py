"""One job as text: what it is, every attempt at it, and all that happened to it."""

from collections.abc import Iterator
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from stepsize.report import age, outcome, plain_table
from stepsize.values import Attempt, Checkpoint, Job

SIZES = ("B", "KiB", "MiB", "GiB")
THOUSAND = 1024


def story(job: Job) -> Iterator[Table | str]:
    """What there is to say about a job, from what it is to its end."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(job):
        facts.add_row(f"[bold]{name}[/]", escape(value))
    yield facts
    if job.finished and (job.result is not None or job.error is not None):
        yield ""
        yield outcome(job)
    if job.attempts:
        yield ""
        titles = ("attempt", "worker", "started", "took", "from", "to", "outcome")
        yield plain_table(titles, [_attempt(each) for each in job.attempts])
    if job.history:
        yield ""
        titles = ("when", "who", "what", "state", "attempt", "iteration", "detail")
        rows = [
            (
                _instant(each.at),
                each.actor,
                each.verb.replace("_", " "),
                each.state,
                str(each.attempt),
                f"{each.iteration:,}",
                each.detail or "",
            )
            for each in job.history
        ]
        yield plain_table(titles, rows)


def _facts(job: Job) -> list[tuple[str, str]]:
    asked = {"cancel": job.cancel_requested, "pause": job.pause_requested}
    requests = [verb for verb, wanted in asked.items() if wanted and not job.finished]
    planned = "" if job.progress.iterations is None else f" of {job.progress.iterations:,}"
    rows = [
        ("id", job.id),
        ("kind", job.kind.replace("_", " ")),
        ("name", job.name or ""),
        ("state", job.state + "".join(f", a {verb} was asked for" for verb in requests)),
        ("waits", "" if job.waiting is None else job.waiting.detail),
        ("done", f"{job.progress.iteration:,}{planned} iterations"),
    ]
    if job.parent is not None:
        rows.append(("goes on from", f"{job.parent.job} at iteration {job.parent.iteration:,}"))
    if job.checkpoint is not None:
        rows.append(("checkpoint", f"at iteration {job.checkpoint:,}"))
    return [(name, value) for name, value in rows if value]


def _attempt(attempt: Attempt) -> tuple[str, ...]:
    outcome = (attempt.outcome or "running").replace("_", " ")
    return (
        str(attempt.attempt),
        attempt.worker,
        _instant(attempt.started_at),
        age(attempt.started_at, attempt.ended_at),
        f"{attempt.began:,}",
        "" if attempt.iterations is None else f"{attempt.iterations:,}",
        f"{outcome} ({attempt.reason})" if attempt.reason else outcome,
    )


def _instant(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def checkpoint_table(checkpoints: list[Checkpoint]) -> Table:
    """Checkpoints, one a line."""
    rows = [
        (
            f"{each.iteration:,}",
            str(each.attempt),
            _size(each.bytes),
            age(each.created_at),
            "end of a cycle" if each.lasting else "one of the latest",
            each.sha256[:12],
        )
        for each in checkpoints
    ]
    return plain_table(("iteration", "attempt", "size", "age", "kept as", "sha256"), rows)


def _size(count: float) -> str:
    for unit in SIZES[:-1]:
        if count < THOUSAND:
            return f"{count:.3g} {unit}"
        count /= THOUSAND
    return f"{count:.3g} {SIZES[-1]}"
