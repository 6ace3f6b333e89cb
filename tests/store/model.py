"""The life of jobs in plain Python: what the store must hold after each move (docs/states.md)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spec.states import FINISHED, NO_RETRIES, RETRIES, Reason, State
from store.checkpoints import KEPT, Saved
from store.leases import Lease

EVALUATED = 4
"""Updates between two rows of the validation series."""


class RefusedError(Exception):
    """A client's move that the job's state forbids."""


class GoneError(Exception):
    """The job has been deleted."""


class NeededError(Exception):
    """Another job needs a checkpoint of this one."""


class LostError(Exception):
    """The lease is not that of a running job."""


@dataclass
class Attempt:
    """One claim of a job, as the model has it."""

    worker: str
    began: int
    outcome: str | None = None
    iterations: int | None = None
    reason: str | None = None


@dataclass
class Job:
    """A job; rows and evaluations hold the attempt that recorded each."""

    id: str
    priority: int
    population: str | None
    parent: tuple[str, int] | None = None
    state: State = State.QUEUED
    reason: Reason | None = None
    attempt: int = 0
    iteration: int = 0
    crashes: int = 0
    failures: int = 0
    cancel: bool = False
    pause: bool = False
    checkpoint: int | None = None
    delayed: bool = False
    ran_out: bool = False
    deleted: bool = False
    rows: dict[int, int] = field(default_factory=dict)
    evaluations: dict[int, int] = field(default_factory=dict)
    checkpoints: dict[int, tuple[int, Saved]] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    history: list[tuple[str, str, State, int, int]] = field(default_factory=list)

    @property
    def start(self) -> int:
        """The iteration that it begins at without a checkpoint of its own."""
        return self.parent[1] if self.parent else 0

    def note(self, verb: str, actor: str) -> None:
        """Remembers a change."""
        self.history.append((verb, actor, self.state, self.attempt, self.iteration))

    def leave(self, state: State, verb: str, actor: str, outcome: str) -> None:
        """Ends the attempt."""
        self.state, self.pause, self.ran_out = state, False, False
        self.note(verb, actor)
        this = self.attempts[-1]
        this.outcome, this.iterations = outcome, self.iteration

    def go_back(self, to: int | None) -> None:
        """Forgets what came after a checkpoint, or everything."""
        self.checkpoint, self.iteration = to, to or 0
        self.rows = {t: by for t, by in self.rows.items() if to and t < to}
        self.evaluations = {t: by for t, by in self.evaluations.items() if to and t <= to}


@dataclass
class World:
    """All jobs, by id in the order of their submission."""

    jobs: dict[str, Job] = field(default_factory=dict)

    def submit(
        self, job_id: str, priority: int, population: str | None, parent: tuple[str, int] | None
    ) -> None:
        """A new job."""
        job = self.jobs[job_id] = Job(job_id, priority, population, parent)
        job.note("submit", "client")

    def unfinished(self) -> int:
        """How many jobs there are that have not come to an end."""
        return sum(job.state not in FINISHED for job in self.jobs.values())

    def cancel(self, job: Job) -> None:
        """By the client."""
        self._known(job, {State.SUCCEEDED, State.FAILED})
        if job.state in {State.QUEUED, State.PAUSED}:
            job.state, job.cancel = State.CANCELLED, True
            job.note("cancel", "client")
        elif job.state == State.RUNNING and not job.cancel:
            job.cancel = True
            job.note("cancel", "client")

    def pause(self, job: Job) -> None:
        """By the client."""
        self._known(job, FINISHED)
        if job.state == State.QUEUED:
            job.state = State.PAUSED
            job.note("pause", "client")
        elif job.state == State.RUNNING and not job.pause and not job.cancel:
            job.pause = True
            job.note("pause", "client")

    def resume(self, job: Job) -> None:
        """By the client."""
        self._known(job, FINISHED)
        if job.state == State.PAUSED:
            job.state = State.QUEUED
            job.note("resume", "client")
        elif job.pause:
            job.pause = False
            job.note("resume", "client")

    def retry(self, job: Job) -> None:
        """By the client."""
        self._known(job, {State.SUCCEEDED, State.PAUSED})
        if job.state in FINISHED:
            job.state, job.reason, job.cancel, job.delayed = State.QUEUED, None, False, False
            job.crashes = job.failures = 0
            job.iteration = job.checkpoint or 0
            job.note("retry", "client")

    def remove(self, job: Job) -> None:
        """By the client."""
        self._known(job, ())
        if self.children(job):
            raise NeededError
        self._known(job, set(State) - FINISHED)
        job.deleted = True

    def ready(self) -> list[Job]:
        """The jobs that could be claimed, the best first."""
        found = [j for j in self.jobs.values() if j.state == State.QUEUED and not j.delayed]
        return sorted(found, key=lambda job: (-job.priority, job.id))

    def siblings(self, population: str) -> list[Job]:
        """Those that may be claimed for a population."""
        ready = self.ready()
        others = [job.priority for job in ready if job.population != population]
        return [
            job
            for job in ready
            if job.population == population
            and job.checkpoint is None
            and job.priority >= max(others, default=job.priority)
        ]

    def claim(self, taken: Iterable[Job], worker: str) -> None:
        """By a worker."""
        for job in taken:
            job.state = State.RUNNING
            job.attempt += 1
            job.go_back(job.checkpoint)
            job.attempts.append(Attempt(worker, job.iteration))
            job.note("claim", worker)

    def held(self, lease: Lease) -> Job | None:
        """The job, where the lease is good."""
        job = self.jobs[lease.job_id]
        good = job.state == State.RUNNING and job.attempt == lease.attempt and not job.deleted
        return job if good else None

    def owned(self, lease: Lease) -> Job:
        """The job, of whom the lease must be good."""
        job = self.held(lease)
        if job is None:
            raise LostError
        return job

    def record(self, lease: Lease, iteration: int, rows: range, cuts: Sequence[Saved]) -> list[str]:
        """By the worker; the files that are needed no more."""
        job = self.owned(lease)
        job.iteration, job.ran_out = iteration, False
        for t in rows:
            job.rows[t] = lease.attempt
            if (t + 1) % EVALUATED == 0:
                job.evaluations[t + 1] = lease.attempt
        if not cuts:
            return []
        job.checkpoints |= {cut.iteration: (lease.attempt, cut) for cut in cuts}
        job.checkpoint = cuts[-1].iteration
        job.crashes = job.failures = 0
        last = sorted(job.checkpoints)[-KEPT:]
        awaited = {each.parent and each.parent[1] for each in self.children(job)}
        gone = [
            cut
            for t, (_, cut) in job.checkpoints.items()
            if t not in last and t not in awaited and not cut.lasting
        ]
        for cut in gone:
            del job.checkpoints[cut.iteration]
        return [cut.file for cut in gone]

    def plan(self, lease: Lease, start: int) -> None:
        """By the worker."""
        job = self.owned(lease)
        job.iteration = max(job.iteration, start)
        if start:
            job.attempts[-1].began = start

    def fall_back(self, lease: Lease, to: int | None) -> None:
        """By the worker."""
        job = self.owned(lease)
        job.go_back(to)
        job.attempts[-1].began = job.iteration
        job.note("fall_back", lease.worker)
        job.checkpoints = {t: cut for t, cut in job.checkpoints.items() if t <= job.iteration}

    def fail(self, lease: Lease, reason: Reason) -> None:
        """By the worker."""
        job = self.owned(lease)
        again = job.failures < RETRIES.get(reason, NO_RETRIES).times and not job.cancel
        state = State.FAILED
        if again:
            job.failures += 1
            job.delayed, job.population = True, None
            state = State.PAUSED if job.pause else State.QUEUED
        else:
            job.reason = reason
        job.attempts[-1].reason = reason
        job.leave(state, "fail", lease.worker, "paused" if state == State.PAUSED else "failed")

    def hand_back(self, lease: Lease, *, alone: bool, delayed: bool) -> None:
        """By the worker."""
        job = self.owned(lease)
        job.delayed |= delayed
        state = State.QUEUED
        if job.cancel or job.pause:
            state = State.CANCELLED if job.cancel else State.PAUSED
        if alone:
            job.population = None
        outcome = "paused" if state == State.PAUSED else "handed_back"
        job.leave(state, "hand_back", lease.worker, outcome)

    def expire(self, max_crashes: int) -> list[Job]:
        """By the reconciler."""
        taken = [job for job in self.jobs.values() if job.ran_out and not job.deleted]
        for job in taken:
            job.crashes += 1
            job.population = None
            state = State.PAUSED if job.pause else State.QUEUED
            if job.cancel:
                state = State.CANCELLED
            elif job.crashes >= max_crashes:
                state, job.reason = State.FAILED, Reason.WORKER_LOST
            job.leave(state, "expire", "reconciler", "lost")
        return taken

    def children(self, job: Job) -> list[Job]:
        """Those that are still to begin with a checkpoint of the job, or may have to again."""
        return [
            each
            for each in self.jobs.values()
            if each.parent
            and each.parent[0] == job.id
            and each.state not in FINISHED
            and not each.deleted
        ]

    @staticmethod
    def _known(job: Job, refused: Iterable[State]) -> None:
        if job.deleted:
            raise GoneError
        if job.state in refused:
            raise RefusedError
