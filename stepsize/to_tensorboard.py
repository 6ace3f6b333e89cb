"""Jobs as runs of TensorBoard: event files that a second export goes on from where one ended."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsize.errors import StepsizeError
from stepsize.exporting import Group, blocks, groups, hyperparameters, instants, results, tags

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.values import Job

STATE = "stepsize.json"
"""Beside an event file: how long it is, and which rows are in it."""


@dataclass
class _Told:
    """What an event file has already."""

    job: str
    bytes: int = 0
    next: dict[str, int] = field(default_factory=dict)
    ended: str | None = None


def export(client: Client, job: Job, folder: Path) -> Path:
    """Writes a job as a run below `folder`, each repeat of a range test in one of its own.

    What an earlier export wrote stays; what was cut off in the middle is written again.

    Raises:
        StepsizeError: tensorboard is not installed, or the folder is that of another job.
    """
    run = folder / name_of(job)
    places: dict[Path, list[Group]] = {}
    for group in groups(client, job):
        ramp = job.kind == "range_test" or group.key.startswith("range_")
        place = run / f"repeat-{group.repeat + 1}" if ramp else run
        places.setdefault(place, []).append(group)
    for place, found in (places or {run: []}).items():
        _write(client, job, found, place)
    return run


def name_of(job: Job) -> str:
    """The folder of a job: readable, and always the same."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", job.name or job.kind).strip("-.")[:60]
    return f"{slug or job.kind}-{job.id}"


def _write(client: Client, job: Job, found: list[Group], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    state = place / STATE
    told = _Told(**json.loads(state.read_text())) if state.exists() else _Told(job.id)
    if told.job != job.id:
        raise StepsizeError(f"{place} is the run of {told.job}: export to another folder")
    made = int(job.created_at.timestamp()) if job.created_at else 0
    file = place / f"events.out.tfevents.{made}.stepsize"
    if told.bytes and (not file.exists() or file.stat().st_size < told.bytes):
        told = _Told(job.id)  # someone has cleared the folder: all of it is written again
    began, each = instants(job)

    def keep(length: int) -> None:
        told.bytes = length
        part = state.with_suffix(".part")
        part.write_text(json.dumps(vars(told)))
        part.replace(state)

    with _events(file, told.bytes) as (put, end):
        if not told.bytes:
            for summary in _headings(job, place.name):
                put(began, 0, summary)
            keep(end())
        for group in found:
            for rows in blocks(client, job, group, start=told.next.get(group.key, 0)):
                for step, values in _rows(rows.columns):
                    put(began + each * step, step, _scalars(values))
                told.next[group.key] = int(rows.iteration[-1]) + 1
                keep(end())
        if job.finished and told.ended != job.state:
            last = began + each * job.progress.iteration
            ended = {f"result/{name}": value for name, value in results(job).items()}
            put(last, job.progress.iteration, _scalars(ended))
            put(last, job.progress.iteration, _ended(job, last))
            told.ended = job.state
            keep(end())


def _rows(columns: Any) -> Iterator[tuple[int, dict[str, float]]]:
    names = [name for name in columns if name != "iteration"]
    values = zip(*(columns[name].tolist() for name in names), strict=True)
    for step, row in zip(columns["iteration"].tolist(), values, strict=True):
        yield step, dict(zip(names, row, strict=True))


Put = Callable[[float, int, Any], None]


@contextmanager
def _events(path: Path, length: int) -> Iterator[tuple[Put, Callable[[], int]]]:
    """A file of events, cut to what is known to be whole: one puts more, and asks for its end."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - an extra
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - same
    except ImportError as error:
        raise StepsizeError(
            "export to tensorboard needs it: pip install 'stepsize[tensorboard]'"
        ) from error
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(length)
        file.seek(0, 2)
        records = RecordWriter(file)
        if not length:
            records.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())

        def put(at: float, step: int, summary: Any) -> None:
            event = Event(wall_time=at, step=step, summary=summary)
            records.write(event.SerializeToString())

        def end() -> int:
            records.flush()
            return file.tell()

        yield put, end


def _scalars(values: dict[str, float]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - an extra

    return Summary(
        value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    )


def _headings(job: Job, trial: str) -> Iterator[Any]:
    """The settings for the tab of hyperparameters, and the whole spec as text."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - an extra
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # noqa: PLC0415 - an extra
    from tensorboard.plugins.hparams import summary_v2  # noqa: PLC0415 - an extra
    from tensorboard.plugins.text import metadata  # noqa: PLC0415 - an extra

    labels = {f"tag.{name}": value for name, value in tags(job).items()}
    known = {
        name: value
        for name, value in hyperparameters(job).items()
        if not isinstance(value, float) or math.isfinite(value)
    }
    yield summary_v2.hparams_pb(labels | known, trial_id=f"{job.id}/{trial}")
    text = "```json\n" + json.dumps(job.spec, indent=2) + "\n```"
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()])
    about = metadata.create_summary_metadata("spec", f"The spec of {job.id}")
    yield Summary(value=[Summary.Value(tag="spec", tensor=tensor, metadata=about)])


def _ended(job: Job, at: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - an extra
    from tensorboard.plugins.hparams import (  # noqa: PLC0415 - an extra
        api_pb2,
        metadata,
        plugin_data_pb2,
    )

    status = api_pb2.STATUS_SUCCESS if job.succeeded else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=at)
    about = metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )
    tag = metadata.SESSION_END_INFO_TAG
    null = metadata.NULL_TENSOR
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=null)])
