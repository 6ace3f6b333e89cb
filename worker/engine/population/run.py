"""Trainings that differ in hyperparameters only, side by side, each with events of its own."""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from spec.components import ComponentParams
from spec.jobs import TrainingSpec
from worker.engine.comparing import ALONE, Comparing, stopped
from worker.engine.course import Course, course
from worker.engine.errors import EngineError, explained
from worker.engine.events import Block, Checkpoint, Event, Finished, Plan, Standing, State
from worker.engine.loop import DEFAULT_PACE, Pace, Rates, never
from worker.engine.population.stack import Stack, paced
from worker.engine.prepare import prepared
from worker.engine.progress import training_state
from worker.engine.recipe import Recipe, optimizer_params
from worker.engine.state import fitting, require_version, stamped
from worker.engine.steering import Looks, followed
from worker.engine.train import finished, is_kept, require_resolved, shown
from worker.engine.verdict import Verdict
from worker.engine.watch import Watch

PLANNED = 1024
"""Updates whose rates are worked out at a time."""


@dataclass
class Member:
    """One training of the population."""

    index: int
    spec: TrainingSpec
    course: Course
    optimizer: ComponentParams
    rates: Rates
    looks: Looks | None
    watch: Watch
    comparing: Comparing
    verdict: Verdict = field(default_factory=Verdict)
    before: float = 0.0  # seconds of earlier attempts
    rungs: frozenset[int] = frozenset()
    enough: str | None = None

    @property
    def every(self) -> int | None:
        """After so many updates it is evaluated or looked at."""
        per_epoch = self.watch.per_epoch if self.looks else None
        return per_epoch if self.course.every is None else self.course.every

    def plan_rungs(self) -> None:
        """Ask where it is compared, once it is known where it begins."""
        self.rungs = self.comparing.within(
            self.course.schedule,
            self.course.iterations,
            self.watch.per_epoch,
            start=self.watch.done,
        )

    def load(self, state: State) -> None:
        """Go on where a checkpoint of this training was taken."""
        require_version(state)
        with fitting("the checkpoint"):
            training = state["training"]
            self.watch.load_state_dict(training["watch"])
            self.verdict.load_state_dict(training["validation"]["verdict"])
            if self.looks is not None:
                self.looks.load_state_dict(training["steering"])
            self.before = state["seconds"]

    def checkpoint(self, learner: State) -> Checkpoint:
        """As a training alone would make it."""
        state = training_state(
            self.course.schedule,
            learner,
            steering=self.looks,
            watch=self.watch,
            validation={"verdict": self.verdict.state_dict()},
        )
        return Checkpoint(self.watch.done, lasting=self.enough is not None, state=state)

    def finished(self, seconds: float) -> Finished:
        """Its end, here."""
        end = finished(self.watch, self.verdict.result(diverged=self.watch.diverged_at is not None))
        end = replace(end, result={**end.result, "seconds": seconds})
        return end if self.enough is None else stopped(end, self.watch.done, self.enough)


def run_population(
    specs: Sequence[TrainingSpec],
    *,
    device: torch.device,
    data_dir: Path,
    left: Container[int] = frozenset(),
    pace: Pace = DEFAULT_PACE,
    due: Callable[[int], bool] = never,
    resume: Sequence[State] = (),
    comparing: Sequence[Comparing] = (),
) -> Iterator[tuple[int, Event | EngineError]]:
    """The events of each training by its index: a Plan, Blocks, and Finished or an EngineError.

    The trainings must have the same `population_key`. Those whose index is in `left`, which is
    looked at between blocks, are dropped; the others go on. After each block `due` is asked for
    each whether a Checkpoint is to follow, with which it goes on alone: `run(spec, resume=state)`,
    or here with others that have made as many updates: `resume` has a state for each spec, or none.
    `comparing`, which has one for each spec or none, is that of `run`; those that are compared
    after the same update all stand there before any is asked whether it ends.
    An EngineError that is raised, not yielded, means that they cannot be trained together: train
    them one by one.
    """
    with explained():
        recipe = prepared(specs[0], device, data_dir, runs=len(specs))
        with closing(recipe), recipe.numerics.applied():
            began, members = perf_counter(), list[Member]()
            for index, spec in enumerate(specs):
                try:
                    own = comparing[index] if comparing else ALONE
                    members.append(_member(index, spec, recipe, own))
                except EngineError as error:
                    yield index, error
            states = [resume[each.index] for each in members] if resume else []
            for each, state in zip(members, states, strict=False):
                each.load(state)
            for each in members:
                each.plan_rungs()
                yield each.index, _plan(each, recipe, runs=len(members))
            if members:
                stack = _stack(members, recipe, states)
                yield from _trained(members, stack, recipe, left, pace, due=due, began=began)


def _member(index: int, spec: TrainingSpec, recipe: Recipe, comparing: Comparing) -> Member:
    require_resolved(spec)
    planned = course(spec, recipe.iterations_per_epoch)
    rates, looks = followed(planned.schedule, planned.iterations)
    watch = Watch(
        recipe.iterations_per_epoch, means=looks is not None and looks.metric == "train_loss"
    )
    return Member(index, spec, planned, optimizer_params(spec), rates, looks, watch, comparing)


def _plan(member: Member, recipe: Recipe, *, runs: int) -> Plan:
    planned = member.course
    return Plan(
        planned.iterations,
        recipe.iterations_per_epoch,
        planned.schedule,
        {**recipe.notes(), "population": runs},
        (*recipe.warnings, *planned.schedule.warnings(planned.iterations)),
        start=member.watch.done,
    )


def _stack(members: Sequence[Member], recipe: Recipe, states: Sequence[State]) -> Stack:
    stack = Stack(
        recipe,
        [each.optimizer for each in members],
        [np.random.SeedSequence(each.spec.seed) for each in members],
    )
    if states:
        stack.load([each["training"]["learner"] for each in states])
    return stack


def _trained(
    members: list[Member],
    stack: Stack,
    recipe: Recipe,
    left: Container[int],
    pace: Pace,
    *,
    due: Callable[[int], bool],
    began: float,
) -> Iterator[tuple[int, Event]]:
    done, seconds = members[0].watch.done, pace.first
    ended = [each for each in members if done == each.course.iterations]
    for each in ended:  # was handed back with its last checkpoint
        yield each.index, each.finished(each.before)
    members = _kept(members, stack, [each not in ended for each in members])
    yield from _compared(members, stack, done, began=began)  # of those that are resumed at a rung
    for each in members:
        if each.enough is not None:
            yield each.index, each.finished(each.before + perf_counter() - began)
    members = _kept(members, stack, [each.enough is None for each in members])
    while members := _kept(members, stack, [each.index not in left for each in members]):
        stop = min(_stop(members, done), done + min(PLANNED, pace.points))
        t = np.arange(done, stop, dtype=np.float64)
        lr = np.stack([each.rates.lr_at(t) for each in members], axis=1)
        momenta = [each.rates.momentum_at(t) for each in members]
        momentum = np.stack([np.full(len(t), np.nan) if m is None else m for m in momenta], axis=1)
        recorded = paced(stack, lr, momentum, seconds)
        rows, seconds = len(recorded["loss"]), min(2 * seconds, pace.longest)
        for i, each in enumerate(members):
            columns = {name: column[:, i] for name, column in recorded.items()}
            columns["lr"] = lr[:rows, i]
            if momenta[i] is not None:
                columns["momentum"] = momentum[:rows, i]
            yield each.index, each.watch.take(Block("train", 0, done, columns))
        done += rows

        yield from _evaluated(members, stack, done)
        yield from _compared(members, stack, done, began=began)
        going = [
            done < each.course.iterations and each.watch.diverged_at is None and each.enough is None
            for each in members
        ]
        for i, (each, goes_on) in enumerate(zip(members, going, strict=True)):
            spent = each.before + perf_counter() - began
            asked = due(each.index) or each.enough is not None
            if is_kept(each.watch, each.course.iterations, asked=asked):
                made = each.checkpoint(stack.learner_state(i, done))
                yield each.index, stamped(made, seconds=spent, device=recipe.numerics.device)
            if not goes_on:
                yield each.index, each.finished(spent)
        members = _kept(members, stack, going)


def _kept(members: list[Member], stack: Stack, staying: Sequence[bool]) -> list[Member]:
    """Those that stay; the stack goes on with them, if there are any."""
    positions = [i for i, stays in enumerate(staying) if stays]
    if 0 < len(positions) < len(members):
        stack.keep(positions)
    return [members[i] for i in positions]


def _stop(members: Sequence[Member], done: int) -> int:
    """The next update after which a member is evaluated, looked at or compared, or ends."""
    intervals = {each.every for each in members if each.every is not None}
    ends = (each.course.iterations for each in members)
    rungs = (rung for each in members for rung in each.rungs if rung > done)
    return min((*ends, *rungs, *((done // every + 1) * every for every in intervals)))


def _evaluated(members: Sequence[Member], stack: Stack, done: int) -> Iterator[tuple[int, Block]]:
    due = [
        done == each.course.iterations
        or (each.course.every is not None and done % each.course.every == 0)
        for each in members
    ]
    found = stack.evaluate(done) if any(due) else []
    for member, evaluation, is_due in zip(members, found, due, strict=False):
        if is_due and member.watch.diverged_at is None:
            yield member.index, member.verdict.take(evaluation)
    for member in members:
        every, looks = member.every, member.looks
        if looks and every and done % every == 0 and member.watch.diverged_at is None:
            looks.look(shown(looks, member.watch, member.verdict))


def _compared(
    members: Sequence[Member], stack: Stack, done: int, *, began: float
) -> Iterator[tuple[int, Block | Standing]]:
    """Where those stand that are compared here; then each is asked whether it ends."""
    here = [each for each in members if done in each.rungs and each.watch.diverged_at is None]
    last = {each.index: each.verdict.last for each in here}
    if any(each is None or each.iteration != done for each in last.values()):
        for member, evaluation in zip(members, stack.evaluate(done), strict=True):
            before = last.get(member.index)
            if member in here and (before is None or before.iteration != done):
                yield member.index, member.verdict.take(evaluation)
    for each in here:
        end = each.finished(each.before + perf_counter() - began)
        yield each.index, Standing(done, end.result)
    for each in here:
        each.enough = each.comparing.enough()
