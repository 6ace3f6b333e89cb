"""Members of a population leave checkpoints with which each may go on alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spec.jobs import JOB_SPEC, TrainingSpec
from tests.worker.engine.checkpoints import (
    EVALUATED,
    OFTEN,
    PLATEAU,
    RAMP,
    TEST,
    TINY,
    TRIANGULAR,
    Told,
    assert_same,
    optimizer,
    through_bytes,
    told,
)
from tests.worker.engine.conftest import CPU
from worker.engine import Block, Checkpoint, EngineError, run_population


def member(seed: int, **changes: Any) -> TrainingSpec:
    spec = JOB_SPEC.validate_python(TINY | {"population": True, "seed": seed} | changes)
    assert isinstance(spec, TrainingSpec)
    return spec


def together(
    specs: list[TrainingSpec],
    due: Callable[[int], bool] = lambda _: False,
    resume: Sequence[dict[str, Any]] = (),
) -> list[Told]:
    found = [Told() for _ in specs]
    events = run_population(specs, device=CPU, data_dir=Path(), pace=OFTEN, due=due, resume=resume)
    for index, event in events:
        assert not isinstance(event, EngineError)
        found[index].events.append(event)
    return found


OPTIMIZERS = pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sgd", [{}, {"momentum": 0.9}, {"momentum": 0.5}]),
        ("sgd", [{"momentum": m, "nesterov": True} for m in (0.5, 0.9, 0.95)]),
        ("adam", [{}, {"weight_decay": 0.01}, {"betas": [0.5, 0.999]}]),
        ("adam", [{"amsgrad": True}] * 3),
        ("adamw", [{}, {"weight_decay": 0.5}, {}]),
    ],
)


def members(name: str, params: list[dict[str, Any]]) -> list[TrainingSpec]:
    schedules = [
        {"policy": "constant", "lr": 0.01},
        TRIANGULAR | {"base_lr": 0.001, "max_lr": 0.01, "step_size": 8},
        PLATEAU | {"lr": 0.01},
    ]
    return [
        member(i, schedule=schedules[i], **optimizer(name, **each), **EVALUATED)
        for i, each in enumerate(params)
    ]


@OPTIMIZERS
def test_a_population_that_is_stopped_goes_on_to_the_bit(
    name: str, params: list[dict[str, Any]]
) -> None:
    specs = members(name, params)
    whole = together(specs)
    states: list[dict[str, Any]] = []
    series = [Told() for _ in specs]
    for stop in (20, 41):
        found = together(specs, lambda _: True, states)
        states = []
        for ours, part in zip(series, found, strict=True):
            first = next(each for each in part.checkpoints if each.iteration >= stop)
            states.append(through_bytes(first.state))
            ours.events += part.events[: part.events.index(first) + 1]
    for ours, part in zip(series, together(specs, resume=states), strict=True):
        ours.events += part.events
    for ours, theirs in zip(series, whole, strict=True):
        assert_same(ours, theirs)


def test_members_that_are_not_equally_far_do_not_go_on_together() -> None:
    specs = [member(0), member(1)]
    found = together(specs, lambda _: True)
    states = [each.checkpoints[i].state for i, each in enumerate(found)]
    with pytest.raises(EngineError, match="the checkpoint"):
        together(specs, resume=states)


@OPTIMIZERS
def test_a_member_of_a_population_goes_on_alone(name: str, params: list[dict[str, Any]]) -> None:
    specs = members(name, params)
    asked = []
    found = together(specs, lambda index: asked.append(index) or len(asked) == 10 + index)  # type: ignore[func-returns-value]
    for each, spec in zip(found, specs, strict=True):
        first, last = each.checkpoints
        assert (last.iteration, last.lasting) == (60, False)
        alone = told(spec.model_dump(mode="json"), resume=through_bytes(first.state))
        assert alone.plans[0].start == first.iteration
        whole, rest = each.series(), alone.series()
        for key in (("train", 0, "loss"), ("validation", 0, "val_loss")):
            np.testing.assert_allclose(rest[key], whole[key][-len(rest[key]) :], rtol=0, atol=1e-5)
        lr = rest["train", 0, "lr"]
        assert lr.tolist() == whole["train", 0, "lr"][first.iteration :].tolist()
        reference = told(spec.model_dump(mode="json")).checkpoints[-1].state["training"]
        assert shape(last.state["training"]) == shape(reference)


def shape(state: Any) -> Any:
    """A state without its numbers."""
    if isinstance(state, dict):
        return {name: shape(each) for name, each in state.items()}
    if isinstance(state, list | tuple):
        return [shape(each) for each in state]
    return (state.dtype, state.shape) if isinstance(state, torch.Tensor) else type(state)


def test_each_is_asked_once_a_block() -> None:
    asked: list[int] = []
    found = together([member(0), member(1)], lambda index: bool(asked.append(index)))  # type: ignore[func-returns-value]
    for index, each in enumerate(found):
        blocks = [x for x in each.events if isinstance(x, Block) and x.series == "train"]
        assert asked.count(index) == len(blocks)
        assert len(each.checkpoints) == 1


def test_a_members_state_is_no_larger_than_one_alone() -> None:
    ours = together([member(i) for i in range(8)], lambda _: False)[0].checkpoints[-1].state
    assert all(
        each.untyped_storage().nbytes() == each.nbytes
        for each in ours["training"]["learner"]["model"].values()
    )


def test_a_member_that_diverges_leaves_none_and_the_others_theirs() -> None:
    specs = [member(i, **optimizer("sgd", weight_decay=w)) for i, w in enumerate((0.0, 1000.0))]
    fine, gone = together(specs, lambda _: False)
    assert gone.result["diverged_at"] is not None
    assert not gone.checkpoints
    assert [each.iteration for each in fine.checkpoints] == [60]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_one_who_stays_when_others_have_left_has_its_own_state(name: str) -> None:
    params = [{}, {"momentum": 0.9}] if name == "sgd" else [{}, {"weight_decay": 0.1}]
    specs = [member(i, **optimizer(name, **each)) for i, each in enumerate([*params, params[1]])]
    left, state = set[int](), dict[str, Any]()
    for index, event in run_population(
        specs, device=CPU, data_dir=Path(), left=left, pace=OFTEN, due=lambda _: True
    ):
        if isinstance(event, Block) and event.start == 14:
            left.add(0)
        if isinstance(event, Checkpoint) and (index, event.iteration) == (2, 35):
            state = through_bytes(event.state)
    rest = told(specs[2].model_dump(mode="json"), resume=state).series()["train", 0, "loss"]
    whole = told(specs[2].model_dump(mode="json")).series()["train", 0, "loss"]
    np.testing.assert_allclose(rest, whole[35:], rtol=0, atol=1e-5)


def test_repeats_that_climb_together_go_on_between_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.job.population_size", lambda *_, **__: 2)
    job = TEST | {"population": True, "repeats": 5, "range": RAMP | {"iterations": 40}}
    whole = told(job)
    parts = told(job, stops=[1, whole.result["iterations"] - 1])
    assert len(parts.plans) == 3
    assert_same(parts, whole)
