"""A training that is compared on its way goes on as if it were not, or ends there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from spec.jobs import JOB_SPEC, TrainingSpec
from tests.worker.engine.checkpoints import (
    EVALUATED,
    OFTEN,
    PLATEAU,
    TINY,
    TRAININGS,
    TRIANGULAR,
    Told,
    assert_same,
    first_checkpoint,
    optimizer,
    through_bytes,
    told,
)
from tests.worker.engine.conftest import CPU
from worker.engine import (
    Block,
    Checkpoint,
    Comparing,
    EngineError,
    Finished,
    Snapshot,
    Standing,
    run_population,
)

RUNGS = (5, 8, 33)
WHY = "number 3 of 3, and only the best goes on"


def at(*rungs: int, stop: int | None = None, asked: list[int] | None = None) -> Comparing:
    """Compared at these rungs, and stopped at one of them."""
    left = list(rungs)
    said = [] if asked is None else asked

    def enough() -> str | None:
        said.append(left.pop(0))
        return WHY if said[-1] == stop else None

    return Comparing(lambda *_: rungs, enough)


def standings(found: Told) -> list[Standing]:
    return [each for each in found.events if isinstance(each, Standing)]


def without_validation(found: Told) -> Told:
    """What is the same with rungs and without: all but evaluations, and what is best of them."""
    kept = Told()
    for each in found.events:
        if isinstance(each, Standing) or (isinstance(each, Block) and each.series == "validation"):
            continue
        if isinstance(each, Finished):
            kept.events.append(Finished({**each.result, "best": None}))
        else:
            kept.events.append(each)
    return kept


@pytest.mark.parametrize("name", TRAININGS)
def test_to_be_compared_changes_nothing(name: str) -> None:
    job = TINY | TRAININGS[name]
    length = job["length"]["iterations"]
    rungs = [each for each in RUNGS if each < length]
    found = told(job, comparing=at(*rungs))
    assert_same(without_validation(found), without_validation(told(job)))
    assert [each.iteration for each in standings(found)] == rungs
    evaluated = found.series()["validation", 0, "iteration"].tolist()
    assert set(rungs) < set(evaluated)
    assert len(set(evaluated)) == len(evaluated)  # once where it was due anyway
    assert "stopped" not in found.result


@pytest.mark.parametrize("name", ["momentum", "snapshots", "auto, in its training"])
def test_who_is_stopped_has_all_until_then_and_can_go_on(name: str) -> None:
    job = TINY | TRAININGS[name]
    found, whole = told(job, comparing=at(*RUNGS, stop=33)), told(job)
    assert found.result["stopped"] == {"iteration": 33, "why": WHY}
    assert found.result["iterations"] == 33
    standing = standings(found)[-1]
    ours = {name: each for name, each in standing.result.items() if name != "seconds"}
    assert found.result == ours | {"stopped": found.result["stopped"]}
    assert standing.result["val_loss"] == found.series()["validation", 0, "val_loss"][-1]
    before, kept, end = found.events[-3:]
    assert isinstance(kept, Checkpoint)
    assert (before, kept.lasting) == (standing, True)
    assert isinstance(end, Finished)

    state = through_bytes(kept.state)
    rest = told(job, resume=state) if "auto" in name else told(job, extend=state)
    for key in (("train", 0, "loss"), ("train", 0, "lr")):
        column = whole.series()[key]
        assert found.series()[key].tobytes() == column[:33].tobytes()
        assert rest.series()[key].tobytes() == column[33:].tobytes()


def test_it_ends_after_all_else_that_was_due_there() -> None:
    job = TINY | {"schedule": TRIANGULAR, "snapshots": "cycle_end"} | EVALUATED
    found = told(job, comparing=at(20, 40, stop=40))
    kinds = [type(each) for each in found.events[-5:]]
    assert kinds == [Block, Snapshot, Standing, Checkpoint, Finished]
    assert [each["iteration"] for each in found.result["snapshots"]] == [20, 40]
    assert found.series()["validation", 0, "iteration"].tolist() == [8, 16, 20, 24, 32, 40]


def test_one_that_goes_on_from_a_rung_is_asked_there_again_and_not_before() -> None:
    job = TINY | {"schedule": TRIANGULAR}
    rungs = (10, 20, 40)
    states = {
        each.iteration: through_bytes(each.state)
        for each in told(job, comparing=at(*rungs)).checkpoints
    }
    asked: list[int] = []
    comparing = at(20, 40, stop=20, asked=asked)
    found = told(job, resume=states[20], comparing=Comparing(lambda *_: rungs, comparing.enough))
    assert asked == [20]
    assert [type(each) for each in found.events[1:]] == [Standing, Finished]
    assert found.result["stopped"]["iteration"] == found.result["iterations"] == 20
    found = told(job, resume=states[40], comparing=Comparing(lambda *_: rungs))
    assert [each.iteration for each in standings(found)] == [40]
    found = told(job, extend=states[20], comparing=Comparing(lambda *_: rungs))
    assert [each.iteration for each in standings(found)] == [40]


def test_one_that_was_not_evaluated_there_is_before_it_is_compared() -> None:
    job = TINY | {"schedule": TRIANGULAR}
    state = through_bytes(first_checkpoint(job, 20).state)
    done = state["training"]["watch"]["done"]
    found = told(job, resume=state, comparing=at(done, stop=done))
    assert found.result["val_loss"] is not None
    assert found.series()["validation", 0, "iteration"].tolist() == [done]


def test_stops_and_rungs_change_nothing_together() -> None:
    job = TINY | optimizer("adam") | {"schedule": PLATEAU} | EVALUATED
    rungs = (5, 9, 20, 33)
    parts = told(job, stops=[8, 9, 25], comparing=Comparing(lambda *_: rungs))
    assert_same(without_validation(parts), without_validation(told(job)))


def test_the_callback_is_told_what_the_course_is() -> None:
    asked: list[Any] = []

    def rungs(*given: Any) -> Sequence[int]:
        asked.append(given)
        return ()

    job = TINY | {
        "schedule": TRIANGULAR | {"step_size": {"epochs": 0.5}},
        "length": {"cycles": 2},
        "batch_size": 128,
    }
    told(job, comparing=Comparing(rungs))
    ((schedule, iterations, per_epoch),) = asked
    assert (schedule.step_size, iterations, per_epoch) == (6, 24, 11)


def test_the_end_is_no_rung() -> None:
    assert not standings(told(TINY, comparing=at(60)))


def test_who_diverges_ends_within_a_few_iterations() -> None:
    job = TINY | optimizer("sgd", weight_decay=1000.0) | {"length": {"iterations": 5000}}
    found = told(job, comparing=at(4000))
    assert found.result["iterations"] == found.result["diverged_at"] + 10 < 200
    assert not standings(found)


# Populations


def member(seed: int, **changes: Any) -> TrainingSpec:
    spec = JOB_SPEC.validate_python(TINY | {"population": True, "seed": seed} | changes)
    assert isinstance(spec, TrainingSpec)
    return spec


def together(
    specs: list[TrainingSpec],
    comparing: Sequence[Comparing] = (),
    resume: Sequence[dict[str, Any]] = (),
) -> tuple[list[Told], list[tuple[int, Any]]]:
    found, order = [Told() for _ in specs], []
    for index, event in run_population(
        specs, device=CPU, data_dir=Path(), pace=OFTEN, comparing=comparing, resume=resume
    ):
        assert not isinstance(event, EngineError)
        found[index].events.append(event)
        order.append((index, event))
    return found, order


def test_members_have_rungs_of_their_own_and_change_nothing() -> None:
    specs = [member(i, **optimizer("adam")) for i in range(3)]
    found, _ = together(specs, [at(5, 8), at(8, 40), Comparing()])
    whole, _ = together(specs)
    for ours, theirs in zip(found, whole, strict=True):
        assert_same(without_validation(ours), without_validation(theirs))
    assert [[each.iteration for each in standings(one)] for one in found] == [[5, 8], [8, 40], []]
    assert [one.series()["validation", 0, "iteration"].tolist() for one in found] == [
        [5, 8, 60],
        [8, 40, 60],
        [60],
    ]


def test_members_stand_before_any_is_asked_and_leave_one_by_one() -> None:
    specs = [member(i) for i in range(3)]
    asked: list[list[int]] = [[], [], []]
    seen: list[int] = []

    def enough(index: int) -> Callable[[], str | None]:
        def ask() -> str | None:
            asked[index].append(len(seen))
            return WHY if len(asked[index]) == index else None

        return ask

    found = [Told() for _ in specs]
    comparing = [Comparing(lambda *_: (10, 20), enough(index)) for index in range(3)]
    for index, event in run_population(
        specs, device=CPU, data_dir=Path(), pace=OFTEN, comparing=comparing
    ):
        assert not isinstance(event, EngineError)
        found[index].events.append(event)
        if isinstance(event, Standing):
            seen.append(index)
    assert asked == [[3, 5], [3], [3, 5]]
    assert [each.result["iterations"] for each in found] == [60, 10, 20]
    for ours, last in zip(found[1:], (10, 20), strict=True):
        assert ours.result["stopped"] == {"iteration": last, "why": WHY}
        assert (ours.checkpoints[-1].iteration, ours.checkpoints[-1].lasting) == (last, True)
        assert isinstance(ours.events[-2], Checkpoint)
        assert len(ours.series()["train", 0, "loss"]) == last
    assert "stopped" not in found[0].result


def test_a_member_that_was_stopped_and_lost_is_stopped_again() -> None:
    specs = [member(0), member(1)]
    kept: dict[int, dict[str, Any]] = {}
    for index, event in run_population(
        specs, device=CPU, data_dir=Path(), pace=OFTEN, due=lambda _: True, comparing=[at(7), at(7)]
    ):
        if isinstance(event, Checkpoint) and event.iteration == 7:
            kept[index] = through_bytes(event.state)
    found, order = together(specs, [at(7, stop=7), at(7)], [kept[0], kept[1]])
    assert [type(each) for each in found[0].events[1:]] == [Standing, Finished]
    assert found[0].result["stopped"]["iteration"] == 7
    assert found[1].result["iterations"] == 60
    kinds = [type(event) for _, event in order[2:5]]
    assert kinds == [Standing, Standing, Finished]
