"""From a sweep's spec to jobs: which configurations come next, checked as any other job is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from api import bounds, components, submission
from api.components import NOTHING_OFFERED, Catalogue
from api.problems import FieldError, InvalidError, field_errors
from schedules import Auto
from schedules.ramp import Ramp
from schedules.values import Epochs
from spec.access import Caller
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.recipes import RecipeSpec
from spec.spaces import MOST_JOBS
from spec.states import State
from spec.sweeps import CmaEs, CoarseToFine, Objective, SweepSpec, Tpe
from store import sweep_moves, sweeps
from store.database import ReadTx, WriteTx
from store.jobs import Job
from store.sweeps import NewTrial, Sweep
from sweeps import proposing, recipes
from sweeps.configurations import InvalidConfigurationError, digest, job_spec, placed
from sweeps.filling import FOUND
from sweeps.space import SweepError
from sweeps.trials import Proposal, Trial

EXTENSIONS: int = RangeTestSpec.model_fields["extensions"].default
"""Of the range test that a training under policy `auto` begins with."""

AHEAD = 8
"""Jobs under way at one time of a sampler that learns, where the budget says nothing."""

STATES: dict[State, Literal["done", "failed", "stopped", "running"]] = {
    State.SUCCEEDED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "stopped",
    State.RUNNING: "running",
}


@dataclass(frozen=True)
class Choice:
    """A configuration that makes a job."""

    proposal: Proposal
    spec: RangeTestSpec | TrainingSpec
    digest: str
    components: tuple[str, ...] = ()


def ahead(spec: SweepSpec | RecipeSpec) -> int:
    """Jobs of a sweep that learns which are under way at one time; a recipe learns only once."""
    return spec.budget.parallel or (MOST_JOBS if isinstance(spec, RecipeSpec) else AHEAD)


def learns(spec: SweepSpec | RecipeSpec) -> bool:
    """Whether configurations are chosen as results come in."""
    return isinstance(spec, RecipeSpec) or isinstance(spec.sampler, Tpe | CmaEs | CoarseToFine)


def promised(spec: SweepSpec | RecipeSpec) -> int:
    """How many configurations the sweep runs at most.

    Raises:
        InvalidError: it cannot be run as it is.
    """
    try:
        return proposing.promised(spec)
    except SweepError as error:
        raise InvalidError.at(error.pointer, error.detail) from error


def all_of(spec: SweepSpec, catalogue: Catalogue = NOTHING_OFFERED) -> list[Choice]:
    """Every configuration of a sweep whose sampler does not learn, those that are equal once.

    Raises:
        InvalidError: a configuration makes no job.
    """
    try:
        proposals = [Proposal(parameters) for parameters in proposing.expand(spec)]
    except SweepError as error:
        raise InvalidError.at(error.pointer, error.detail) from error
    return _checked(spec, proposals, catalogue)


def first_of(spec: SweepSpec | RecipeSpec, catalogue: Catalogue = NOTHING_OFFERED) -> list[Choice]:
    """What a sweep begins with: all of it, unless configurations are chosen as results come in.

    Raises:
        InvalidError: it cannot be run as it is, or a configuration makes no job.
    """
    if isinstance(spec, RecipeSpec):
        steps_of(spec, catalogue)
    elif not learns(spec):
        return all_of(spec, catalogue)
    return next_of(spec, [], ahead(spec), catalogue)


def steps_of(
    spec: RecipeSpec, catalogue: Catalogue = NOTHING_OFFERED
) -> list[tuple[recipes.Step, list[Choice]]]:
    """The steps of a recipe, each with jobs like those that it will run.

    Raises:
        InvalidError: it cannot be run as it is, or two schedules are the same.
    """
    try:
        steps = recipes.steps(spec)
    except SweepError as error:
        raise InvalidError.at(error.pointer, error.detail) from error
    found = [(step, _checked(spec, step.proposals, catalogue)) for step in steps]
    *_, (compared, choices) = found
    kept = {id(each.proposal) for each in choices}
    for proposal in compared.proposals:
        if id(proposal) not in kept:
            again = recipes.place(spec, proposal, "/schedule")
            raise InvalidError.at(again, "is there twice: leave one of them out")
    return found


def require_named(tx: ReadTx, spec: RecipeSpec, *, owner: str) -> None:
    """Refuses schedules that name range tests which are not there, before anything is run.

    Raises:
        InvalidError: as `submission.queue`.
    """
    *_, compared = recipes.steps(spec)
    for proposal in compared.proposals[: len(spec.schedules)]:
        job = job_spec(recipes.base(spec, proposal.parameters), proposal.parameters)
        if isinstance(job, TrainingSpec):
            try:
                bounds.taken(tx, job.schedule, owner=owner, later=FOUND)
            except InvalidError as error:
                raise InvalidError(_placed(error.errors, proposal, spec)) from error


def stuck(spec: SweepSpec | RecipeSpec, trials: Sequence[Trial]) -> str | None:
    """Why a sweep whose jobs have all ended cannot go on although there is more to do."""
    return recipes.stuck(spec, trials) if isinstance(spec, RecipeSpec) else None


def next_of(
    spec: SweepSpec | RecipeSpec,
    trials: Sequence[Trial],
    count: int,
    catalogue: Catalogue = NOTHING_OFFERED,
) -> list[Choice]:
    """Up to `count` configurations that a sampler chooses after these trials.

    Raises:
        InvalidError: it cannot be run as it is, or a configuration makes no job.
    """
    wanted = count
    if isinstance(spec, RecipeSpec) and not recipes.compares(trials):
        wanted = MOST_JOBS  # what the rates do not suit should be known before anything is trained
    try:
        proposals = proposing.propose(spec, trials, wanted)
    except SweepError as error:
        raise InvalidError.at(error.pointer, error.detail) from error
    return _checked(spec, proposals, catalogue)[:count]


def add(
    tx: WriteTx, sweep: Sweep, choices: Sequence[Choice], *, by: Caller, first: int, held: bool
) -> list[Job]:
    """Queues the jobs of a sweep's next trials, the first of which gets the number `first`."""
    jobs = submission.queue_many(
        tx, [(each.spec, each.components) for each in choices], by=by, sweep=sweep.id, held=held
    )
    sweeps.add_trials(
        tx,
        sweep.id,
        [
            NewTrial(
                job.id,
                choice.proposal.parameters,
                choice.proposal.memory,
                iterations_of(choice.spec),
                choice.digest,
            )
            for job, choice in zip(jobs, choices, strict=True)
        ],
        first=first,
    )
    return jobs


def let_go(tx: WriteTx, sweep: Sweep, spec: SweepSpec | RecipeSpec, *, by: Caller) -> list[Job]:
    """Lets jobs of a locked sweep go, as far as its budget allows."""
    most = spec.budget.iterations
    if most is None:
        return sweep_moves.release(tx, sweep)
    room = sweep_moves.affordable(tx, sweep, most)
    freed = sweep_moves.release(tx, sweep, limit=room)
    if room or sweep.state == State.PAUSED:
        return freed
    if sweep_moves.holds(tx, sweep.id) and not sweep_moves.under_way(tx, sweep.id):
        sweep_moves.end(tx, sweep, f"its budget of {most} iterations is spent", by=by)
    return freed


def told(trials: Iterable[sweeps.Trial], objective: Objective) -> list[Trial]:
    """The trials as samplers see them."""
    return [_told(each, each.job, objective) for each in trials]


def _told(trial: sweeps.Trial, job: sweeps.Run | None, objective: Objective) -> Trial:
    if job is None:
        return Trial(trial.number, trial.parameters, "failed", memory=trial.memory)
    return Trial(
        number=trial.number,
        parameters=trial.parameters,
        state="stopped" if stopped(job) else STATES.get(job.state, "waiting"),
        value=value_of(job, objective),
        memory=trial.memory,
        reached=job.iteration,
        result=job.result,
    )


def stopped(job: sweeps.Run) -> str | None:
    """Why a job was ended early, in comparison with others; None where it was not."""
    found = (job.result or {}).get("stopped")
    return str(found["why"]) if isinstance(found, dict) else None


def value_of(job: sweeps.Run, objective: Objective) -> float | None:
    """What a job is judged by; None before it has it, or where it has none, as after diverging."""
    return objective.value_in(job.result)


def iterations_of(spec: RangeTestSpec | TrainingSpec) -> int | None:
    """The most updates of a job; None where they depend on the size of its data or its rates."""
    if isinstance(spec, RangeTestSpec):
        return _of_ramps(spec.range, spec.repeats, spec.extensions)
    if spec.schedule.in_epochs() or isinstance(spec.length, Epochs):
        return None
    trained = spec.iterations(iterations_per_epoch=1)
    if not isinstance(spec.schedule, Auto):
        return trained
    tested = _of_ramps(spec.schedule.range, spec.schedule.repeats, EXTENSIONS)
    return None if tested is None else tested + trained


def _of_ramps(ramp: Ramp, repeats: int, extensions: int) -> int | None:
    """Updates of a range test, at most."""
    each = ramp.iterations
    return None if isinstance(each, Epochs) else each * repeats * (1 + extensions)


def _checked(
    spec: SweepSpec | RecipeSpec, proposals: Iterable[Proposal], catalogue: Catalogue
) -> list[Choice]:
    found: dict[str, Choice] = {}
    for proposal in proposals:
        template = spec.template
        if isinstance(spec, RecipeSpec):
            template = recipes.base(spec, proposal.parameters)
        try:
            job = job_spec(template, proposal.parameters)
        except InvalidConfigurationError as error:
            wrong = field_errors(error.errors, error.job)
            raise InvalidError(_placed(wrong, proposal, spec)) from error
        try:
            required = components.check(job, catalogue)
        except InvalidError as error:
            raise InvalidError(_placed(error.errors, proposal, spec)) from error
        same = digest(job)
        found.setdefault(same, Choice(proposal, job, same, required))
    return list(found.values())


def _placed(
    wrong: Iterable[FieldError], proposal: Proposal, spec: SweepSpec | RecipeSpec
) -> list[FieldError]:
    """Errors of a job as errors of the sweep; those of a combination say which, and what helps."""
    if isinstance(spec, RecipeSpec):
        return [
            FieldError(pointer=recipes.place(spec, proposal, each.pointer), detail=each.detail)
            for each in wrong
        ]
    chosen = ", ".join(f"{name} = {value}" for name, value in proposal.parameters.items())
    hint = "" if spec.constraints else "; leave such combinations out by /constraints"
    return [
        FieldError(
            pointer=placed(each.pointer, proposal.parameters),
            detail=f"{each.detail} (where {chosen}{hint})",
        )
        for each in wrong
    ]
