"""Streams of events tell every state and every row once, in order, whatever is cut or written."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from api import frames, streams
from api.app import create_app
from api.positions import Position, Topic
from spec.settings import Settings
from spec.states import Reason
from stepsize import Client, End, Job, Points
from store import compaction, jobs, leases, moves, recovery
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Lease, Progress
from store.tables import chunks
from tests.api.conftest import NotedBroker
from tests.api.listening import Event, Server, eventually, rows, served
from tests.factories import LEASE, claimed, queued, record, run_out, saved


@pytest.fixture
def server(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    app = create_app(sessions, NotedBroker(), settings)
    app.state.changes._every = 0.01
    with served(app) as running:
        yield running


def losses(start: int, stop: int) -> np.ndarray:
    """What every attempt computes for these iterations."""
    return np.sin(np.arange(start, stop)).astype(np.float32)


def part(start: int, stop: int, *, after: int = 0, repeat: int = 0) -> Chunk:
    columns = {"loss": losses(start, stop), "lr": np.full(stop - start, 0.1)}
    return Chunk("train", repeat, start, columns, after)


def succeed(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})


def fail(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")


def retry(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as tx:
        moves.retry(tx, job_id)


def make_compact(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        for job in compaction.due(tx):
            for block in compaction.pending(tx, job):
                compaction.compact(tx, job, block)
            compaction.settle(tx, job)


def path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"


def named(arrived: list[Event]) -> list[str]:
    """The names of events, and of states which."""
    return [each.data.get("state", "") if each.name == "state" else each.name for each in arrived]


def until(arriving: Iterator[Event], name: str) -> list[Event]:
    """The events up to the first of that name or state."""
    found: list[Event] = []
    for event in arriving:
        found.append(event)
        if name in {event.name, event.data.get("state")}:
            return found
    raise AssertionError(f"no {name} in {named(found)}")


def test_a_job_is_told_from_its_queue_to_its_end(server: Server, sessions: Sessions) -> None:
    job = queued(sessions)
    with server.listening(path(job.id)) as (answer, arriving):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "content-encoding" not in answer.headers
        seen = until(arriving, "queued")
        lease = claimed(sessions)
        seen += until(arriving, "running")
        for start in (0, 10, 20):
            record(sessions, lease, start + 10, part(start, start + 10))
            seen += until(arriving, "points")
        succeed(sessions, lease)
        seen += list(arriving)
    assert named(seen) == [
        *("queued", "running", "running", "points", "running", "points", "running", "points"),
        *("succeeded", "end"),
    ]
    ids = [int(event.id) for event in seen]
    assert ids == sorted(set(ids))
    assert max(ids) < 2**53
    assert rows(seen) == (list(range(30)), losses(0, 30).astype(float).tolist())
    assert {tuple(each.data["names"]) for each in seen if each.name == "points"} == {("loss", "lr")}
    assert [each.data["next_start"] for each in seen if each.name == "points"] == [10, 20, 30]
    state, more = seen[-2].data, {"request", "waiting", "attempts", "history"}
    detail = TestClient(server.app, base_url="http://127.0.0.1").get(f"/v1/jobs/{job.id}").json()
    assert state == {k: v for k, v in detail.items() if k not in more}
    assert seen[-1].data == {
        "job": job.id,
        "reason": "finished",
        "state": "succeeded",
        "detail": None,
    }
    assert server.status(path(job.id), seen[-1].id) == 204
    assert named(server.read(path(job.id), seen[-2].id)) == ["end"]


class Script:
    """Things that happen to a job, by chance; whatever attempt computes them, rows are the same."""

    def __init__(self, sessions: Sessions, chance: random.Random) -> None:
        self.sessions = sessions
        self.chance = chance
        self.job = queued(sessions)
        self.lease: Lease | None = None
        self.at = self.after = 0
        self.length = 250

    def step(self) -> bool:
        """Does something; False once the job has succeeded."""
        if self.lease is None:
            if (job := self.now()).state.finished:
                retry(self.sessions, job.id)
            self.lease = claimed(self.sessions)
            self.at = self.after = self.now().checkpoint or 0
            return True
        if self.at == self.length:
            succeed(self.sessions, self.lease)
            make_compact(self.sessions)
            return False
        act = self.chance.choice([self.write] * 6 + [self.keep, self.crash, self.fail, self.give])
        act(self.lease)
        if self.chance.random() < 0.3:
            make_compact(self.sessions)
        return True

    def now(self) -> jobs.Job:
        with self.sessions.read() as tx:
            return jobs.get(tx, self.job.id)

    def write(self, lease: Lease) -> None:
        stop = min(self.at + self.chance.randint(1, 60), self.length)
        record(self.sessions, lease, stop, part(self.at, stop, after=self.after))
        self.at = stop

    def keep(self, lease: Lease) -> None:
        if self.at > self.after:
            checkpoint = saved(self.at, attempt=lease.attempt)
            record(self.sessions, lease, self.at, checkpoints=[checkpoint])
            self.after = self.at

    def crash(self, lease: Lease) -> None:
        run_out(self.sessions, lease.job_id)
        with self.sessions.begin() as tx:
            recovery.expire(tx, max_crashes=2)
        self.lease = None

    def fail(self, lease: Lease) -> None:
        fail(self.sessions, lease)
        self.lease = None

    def give(self, lease: Lease) -> None:
        with self.sessions.begin() as tx:
            leases.hand_back(tx, lease)
        self.lease = None


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_no_row_is_missed_or_told_twice_wherever_it_is_cut(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, seed: int, many: bool
) -> None:
    monkeypatch.setattr(frames, "VALUES", 60)
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.04)
    chance = random.Random(seed)
    script = Script(sessions, chance)
    where, query = path(script.job.id), {}
    if many:
        other = queued(sessions, queue="other")
        with sessions.begin() as tx:
            moves.cancel(tx, other.id)
        where, query = "/v1/events", {"jobs": f"{other.id},{script.job.id}"}
    seen: list[Event] = []
    going, last = True, ""
    while True:
        for _ in range(chance.randint(0, 4)):
            going = going and script.step()
        with server.listening(where, last, **query) as (answer, arriving):
            if answer.status_code == 204:  # has ended, for now perhaps
                if not going:
                    break
                continue
            assert answer.status_code == 200, (last, answer.read())
            for _ in range(chance.randint(1, 6)):
                event = next(arriving, None)
                if event is None or not event.name:
                    break  # it has ended, or there is nothing new
                seen.append(event)
                last = event.id
                if chance.random() < 0.3:
                    going = going and script.step()
    mine = [each for each in seen if script.job.id in {each.data.get("id"), each.data.get("job")}]
    assert rows(mine) == (list(range(250)), losses(0, 250).astype(float).tolist())
    numbers = [int(each.id.split("-")[0]) for each in seen]
    assert numbers == sorted(set(numbers))
    states = [(each.data["attempt"], each.data["state"]) for each in mine if each.name == "state"]
    assert states[-1][1] == "succeeded"
    assert [attempt for attempt, _ in states] == sorted(attempt for attempt, _ in states)
    assert mine[-1].name == "end"


def test_a_job_that_is_retried_lives_again(server: Server, sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 10, part(0, 10))
    fail(sessions, lease)
    first = server.read(path(job.id))
    assert named(first) == ["failed", "points", "end"]
    assert server.status(path(job.id), first[-1].id) == 204
    retry(sessions, job.id)
    with server.listening(path(job.id), first[-1].id) as (_, arriving):
        second = until(arriving, "queued")
        lease = claimed(sessions)
        record(sessions, lease, 5, part(0, 5))  # known already, bit for bit
        record(sessions, lease, 15, part(5, 15))
        second += until(arriving, "points")
        succeed(sessions, lease)
        second += list(arriving)
    assert rows(second)[0] == [10, 11, 12, 13, 14]
    assert named(second)[-2:] == ["succeeded", "end"]
    assert int(second[0].id) > int(first[-1].id)


def test_a_stream_of_many_goes_on_after_the_end_of_one(server: Server, sessions: Sessions) -> None:
    one, two = queued(sessions), queued(sessions)
    lease = claimed(sessions)
    ids = f"{one.id},{two.id}"
    with server.listening("/v1/events", jobs=ids, names="loss") as (_, arriving):
        until(arriving, "running")
        fail(sessions, lease)
        until(arriving, "end")
        retry(sessions, one.id)
        again = until(arriving, "queued")[-1]
        assert again.data["id"] == one.id
        for each in (one, two):
            with sessions.begin() as tx:
                moves.cancel(tx, each.id)
        rest = list(arriving)
    assert sorted(each.data["job"] for each in rest if each.name == "end") == [one.id, two.id]
    assert server.status("/v1/events", rest[-1].id, jobs=ids, names="loss") == 204
    assert named(server.read("/v1/events", again.id, jobs=ids)).count("end") == 2


def test_a_deleted_job_ends(server: Server, sessions: Sessions) -> None:
    one, two = queued(sessions), queued(sessions)
    ids = f"{one.id},{two.id}"
    with sessions.begin() as tx:
        moves.cancel(tx, one.id)
    with server.listening("/v1/events", jobs=ids) as (_, arriving):
        before = until(arriving, "cancelled")[-1].id
        until(arriving, "queued")
        with sessions.begin() as tx:
            jobs.remove(tx, one.id)
        with server.listening("/v1/events", before, jobs=ids) as (_, other):
            assert until(other, "end")[-1].data["reason"] == "deleted"
        with sessions.begin() as tx:
            moves.cancel(tx, two.id)
            jobs.remove(tx, two.id)
        rest = list(arriving)
    assert [(each.data["job"], each.data["reason"]) for each in rest if each.name == "end"] == [
        (two.id, "deleted")
    ]
    assert server.status("/v1/events", rest[-1].id, jobs=ids) == 204
    assert server.status("/v1/events", jobs=ids) == 404
    assert server.status(path(one.id)) == 404


def test_a_deleted_job_that_runs_no_more_ends_its_stream(
    server: Server, sessions: Sessions
) -> None:
    job = queued(sessions)
    with server.listening(path(job.id)) as (_, arriving):
        until(arriving, "queued")
        with sessions.begin() as tx:
            moves.cancel(tx, job.id)
            jobs.remove(tx, job.id)
        (end,) = list(arriving)
    assert end.data["reason"] == "deleted"
    assert server.status(path(job.id), end.id) == 404


def test_rows_are_those_of_the_series(server: Server, sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    wild = np.array([1, np.nan, np.inf, 2], np.float32)
    sparse = {"iteration": np.array([3, 9]), "val_loss": np.ones(2)}
    record(
        sessions,
        lease,
        4,
        Chunk("train", 1, 0, {"loss": wild, "lr": np.ones(4)}),
        Chunk("validation", 0, 3, sparse),
    )
    succeed(sessions, lease)
    _, points, _ = server.read(path(job.id), names="loss", repeat=1)
    assert points.data == {
        "job": job.id,
        "repeat": 1,
        "names": ["loss"],
        "start": 0,
        "next_start": 4,
        "columns": {"iteration": [0, 1, 2, 3], "loss": [1.0, None, None, 2.0]},
        "nonfinite": {"loss": [1, 2]},
    }
    _, points, end = server.read(path(job.id), names="val_loss")
    assert points.data["columns"] == {"iteration": [3, 9], "val_loss": [1.0, 1.0]}
    assert "nonfinite" not in points.data
    assert server.status(path(job.id), end.id, names="val_loss") == 204
    assert named(server.read(path(job.id), names="")) == ["succeeded", "end"]
    _, points, _ = server.read(path(job.id), repeat=1, start=3)
    assert points.data["columns"]["iteration"] == [3]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("names=nonsense", "/names"),
        ("names=loss,val_loss", "/names"),
        ("names=accuracy", "/names"),
        ("repeat=-1", "/repeat"),
        ("start=x", "/start"),
        ("points=100", "/points"),
    ],
)
def test_what_is_wrong_is_said_before_the_stream(
    client: TestClient, sessions: Sessions, query: str, pointer: str
) -> None:
    job = queued(sessions)
    record(sessions, claimed(sessions), 4, part(0, 4))
    for url in (f"{path(job.id)}?{query}", f"/v1/events?jobs={job.id}&{query}"):
        answer = client.get(url)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_ids_that_this_stream_never_sent_are_refused(
    client: TestClient, sessions: Sessions
) -> None:
    job = queued(sessions)
    topic = Topic((job.id,), ("loss", "lr"), "train", 0)
    many = Topic((job.id,), ("loss", "lr"), "train", 0, many=True)
    chance = random.Random(0)
    texts = ["0x1", "-1", "1e9", "2.5", "null", "9" * 19, "9" * 40, "9" * 3999, "9" * 5000]
    texts += [
        "".join(chance.choices("0123456789-abcdef", k=chance.randint(1, 60))) for _ in "x" * 40
    ]
    texts = [text for text in texts if len(text) > 18 or not text.isdecimal()]  # may be one
    unreached = {job.id: Position(job.version + 1)}
    beyond = {job.id: Position(1, 2**70)}
    for url, known in ((path(job.id), topic), (f"/v1/events?jobs={job.id}", many)):
        for text in [*texts, known.id_of(unreached), known.id_of(beyond)]:
            answer = client.get(url, headers={"Last-Event-ID": text})
            assert answer.status_code == 422, text
            (error,) = answer.json()["errors"]
            assert error["pointer"] == "/Last-Event-ID"
            assert "begin anew" in error["detail"]


def test_jobs_that_are_not_there_are_404(client: TestClient, sessions: Sessions) -> None:
    job = queued(sessions)
    for url in (
        "/v1/jobs/job_0/events",
        "/v1/jobs/nonsense/events",
        f"/v1/events?jobs={job.id},job_0",
        f"/v1/events?jobs={job.id},",
    ):
        assert client.get(url).status_code == 404
    many = ",".join(f"job_{each}" for each in range(101))
    assert client.get(f"/v1/events?jobs={many}").json()["errors"][0]["pointer"] == "/jobs"
    assert client.get("/v1/events").status_code == 422


def test_a_name_that_turns_out_not_to_be_recorded_ends_the_stream(
    server: Server, sessions: Sessions
) -> None:
    job, other = queued(sessions), queued(sessions)
    ids = f"{job.id},{other.id}"
    with server.listening("/v1/events", names="accuracy", jobs=ids) as (_, arriving):
        until(arriving, "queued")
        until(arriving, "queued")
        lease = claimed(sessions)
        until(arriving, "running")
        record(sessions, lease, 4, part(0, 4))
        end = until(arriving, "end")[-1]
        assert end.data["reason"] == "not_recorded"
        assert "it records loss, lr" in end.data["detail"]
        record(sessions, lease, 8, part(4, 8))
        with sessions.begin() as tx:
            moves.pause(tx, other.id)
        assert [each.data.get("id") for each in until(arriving, "paused")] == [other.id]


def test_silence_is_filled_with_comments(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.02)
    job = queued(sessions)
    with server.listening(path(job.id)) as (_, arriving):
        names = [next(arriving).name for _ in range(4)]
    assert names == ["state", "", "", ""]
    eventually(lambda: server.streams.open == 0)


def test_a_stream_ends_in_time_and_is_gone_on_with(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST", 0.2)
    job = queued(sessions)
    (state,) = server.read(path(job.id))
    assert server.read(path(job.id), state.id) == []
    eventually(lambda: server.streams.open == 0)


def test_the_database_may_be_away(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "AGAIN", 0.02)
    monkeypatch.setattr(frames, "VALUES", 9)
    job = queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 30, part(0, 30))
    succeed(sessions, lease)
    real, looks = frames.read, []

    def sometimes(*args: object) -> object:
        looks.append(args)
        if len(looks) % 3 == 0:
            raise OperationalError("", {}, Exception("away"))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(frames, "read", sometimes)
    seen = server.read(path(job.id))
    assert rows(seen)[0] == list(range(30))
    assert named(seen)[-1] == "end"
    assert len(looks) > 10


def test_a_server_that_stops_ends_its_streams(server: Server, sessions: Sessions) -> None:
    job = queued(sessions)
    with server.listening(path(job.id)) as (_, arriving):
        until(arriving, "queued")
        server.app.state.changes.close()
        assert [event.name for event in arriving if event.name] == []


def test_so_many_streams_and_no_more(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST", 1)
    job = queued(sessions)
    with server.listening(path(job.id)) as (_, arriving):
        until(arriving, "queued")
        with server.listening(path(job.id)) as (answer, _):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
    eventually(lambda: server.streams.open == 0)
    assert server.status(path(job.id)) == 200


def test_what_is_damaged_is_said(server: Server, sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with server.listening(path(job.id)) as (_, arriving):
        record(sessions, lease, 4, part(0, 4))
        until(arriving, "points")
        with sessions.begin() as tx:
            news = [Progress(lease, 8, [part(4, 8)])]
            leases.record(tx, news, extend=LEASE)
            tx.execute(update(chunks).where(chunks.c.start == 4).values(data=b"nonsense"))
        record(sessions, lease, 12, part(8, 12))
        points = until(arriving, "points")[-1]
    assert points.data["columns"]["iteration"] == [8, 9, 10, 11]
    assert [(each["start"], each["stop"]) for each in points.data["damaged"]] == [(4, 8)]


def test_the_client_follows_through_lost_connections(
    server: Server, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST", 0.1)
    monkeypatch.setattr(streams, "RETRY", (1, 2))
    job = queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 10, part(0, 10))
    iterations: list[int] = []
    states: list[str] = []
    with Client(server.url) as client:
        for event in client.events(job.id):
            match event:
                case Job():
                    states.append(event.state)
                    if len(states) == 1:
                        record(sessions, lease, 20, part(10, 20))
                case Points():
                    np.testing.assert_array_equal(
                        event.loss, losses(event.start, event.next_start).astype(float)
                    )
                    iterations += event.iteration.tolist()
                    if len(iterations) == 20:
                        succeed(sessions, lease)
                case End():
                    assert event.reason == "finished"

    assert iterations == list(range(20))
    assert states[-1] == "succeeded"
