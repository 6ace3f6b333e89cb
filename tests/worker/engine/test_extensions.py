"""A training that begins where another was: like one long run, or with other parameters."""

from typing import Any

import numpy as np
import pytest

from spec.states import Reason
from tests.worker.engine.checkpoints import (
    AUTO,
    CYCLED,
    EVALUATED,
    MOMENTUM,
    PLATEAU,
    TEST,
    TINY,
    TRAININGS,
    TRIANGULAR,
    assert_same,
    differences,
    first_checkpoint,
    optimizer,
    through_bytes,
    told,
)
from worker.engine import EngineError

LONGER = {"length": {"iterations": 100}}


@pytest.mark.parametrize(
    "name",
    [
        *("momentum", "adam", "schedule-free adamw", "prodigy", "dropout", "groups"),
        *("plateau by train_loss", "plateau by val_loss", "hypergradient adam", "streamed"),
        *("hypergradient nesterov", "rmsprop with all", "bf16"),
    ],
)
def test_a_longer_training_goes_on_as_if_it_had_been_longer_from_the_start(name: str) -> None:
    job = TINY | TRAININGS[name]
    parent = through_bytes(told(job).checkpoints[-1].state)
    whole, ours = told(job | LONGER), told(job | LONGER, extend=parent)
    assert (ours.plans[0].start, ours.plans[0].iterations) == (60, 100)
    rest = ours.series()
    for key, column in whole.series().items():
        if key[0] == "train":
            assert rest[key].tobytes() == column[60:].tobytes(), key
    states = (each.checkpoints[-1].state["training"]["learner"] for each in (ours, whole))
    assert not differences(*states)
    for each in ("iterations", "train_loss", "val_loss", "val_accuracy", "diverged_at"):
        assert ours.result[each] == whole.result[each]


def test_an_extension_is_checkpointed_like_any_training() -> None:
    job = TINY | MOMENTUM | EVALUATED | {"schedule": TRIANGULAR, "snapshots": "cycle_end"}
    parent = through_bytes(told(job).checkpoints[-1].state)
    whole = told(job | LONGER, extend=parent)
    assert [each.iteration for each in whole.snapshots()] == [80, 100]
    assert [each["iteration"] for each in whole.result["snapshots"]] == [80, 100]
    assert [each.iteration for each in whole.checkpoints] == [80, 100]
    parts = told(job | LONGER, extend=parent, stops=[70, 85])
    assert [each.start for each in parts.plans] == [60, 71, 87]
    assert_same(parts, whole)


def test_an_extension_may_begin_at_any_checkpoint() -> None:
    job = TINY | optimizer("adam")
    state = through_bytes(first_checkpoint(job, after=20).state)
    ours = told(job, extend=state)
    assert ours.plans[0].start == 21
    loss = told(job).series()["train", 0, "loss"]
    assert ours.series()["train", 0, "loss"].tobytes() == loss[21:].tobytes()


def test_the_range_test_of_a_parent_does_not_count() -> None:
    job = TINY | MOMENTUM | {"schedule": AUTO}
    parent = told(job)
    state = through_bytes(parent.checkpoints[-1].state)
    assert parent.checkpoints[-1].iteration > 60
    schedule = parent.plans[-1].schedule
    assert schedule is not None
    ours = told(job | LONGER | {"schedule": schedule.model_dump(mode="json")}, extend=state)
    assert ours.plans[0].start == 60
    assert len(ours.series()["train", 0, "loss"]) == 40


def test_another_schedule_begins_with_a_fresh_state() -> None:
    job = TINY | EVALUATED | {"schedule": PLATEAU}
    parent = told(job)
    state = through_bytes(parent.checkpoints[-1].state)
    lower = parent.series()["train", 0, "lr"][-1]
    assert lower < 0.1
    same = told(job | LONGER, extend=state).series()["train", 0, "lr"]
    other = job | LONGER | {"schedule": PLATEAU | {"cooldown": 1}}
    fresh = told(other, extend=state).series()["train", 0, "lr"]
    assert same[0] <= lower
    assert fresh[0] == 0.1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (optimizer("adam"), optimizer("adam", amsgrad=True, weight_decay=0.1)),
        (optimizer("adam", amsgrad=True), optimizer("adam")),
        (optimizer("sgd"), MOMENTUM),
        (MOMENTUM, optimizer("sgd")),
        (optimizer("sgd"), optimizer("sgd") | {"schedule": CYCLED}),
        (optimizer("rmsprop"), optimizer("rmsprop", momentum=0.9, centered=True)),
        (optimizer("rmsprop", momentum=0.9, centered=True), optimizer("rmsprop")),
        (optimizer("rmsprop"), optimizer("rmsprop") | {"schedule": CYCLED}),
        (optimizer("prodigy", betas=[0.0, 0.99]), optimizer("prodigy")),
        (MOMENTUM, MOMENTUM | {"lr_groups": {"layer_decay": 2.0}}),
    ],
)
def test_an_optimizer_may_go_on_with_other_parameters(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    slow = {"schedule": {"policy": "constant", "lr": 1e-3}}
    state = told(TINY | slow | before).checkpoints[-1].state
    ours = told(TINY | slow | after | LONGER, extend=through_bytes(state), stops=[75])
    assert np.isfinite(ours.series()["train", 0, "loss"]).all()
    assert ours.result["diverged_at"] is None
    assert_same(ours, told(TINY | slow | after | LONGER, extend=through_bytes(state)))


def test_a_velocity_that_is_no_longer_wanted_is_not_used() -> None:
    state = through_bytes(told(TINY | MOMENTUM).checkpoints[-1].state)
    ours = told(TINY | optimizer("sgd") | LONGER, extend=state)
    kept = state["training"]["learner"]["optimizer"]["state"]
    assert kept
    kept.clear()
    without = told(TINY | optimizer("sgd") | LONGER, extend=state)
    key = ("train", 0, "loss")
    assert ours.series()[key].tobytes() == without.series()[key].tobytes()


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (TINY, "taken after 60 iterations, which /length counts as well: make it more than the 60"),
        (TINY | LONGER | optimizer("adam"), "does not fit: the optimizer is sgd there"),
        (TINY | LONGER | {"model": {"name": "lenet"}}, "does not fit: the model's"),
        (TINY | LONGER | {"schedule": AUTO}, "policy 'auto' begins with a range test"),
    ],
)
def test_what_cannot_be_extended_is_refused(job: dict[str, Any], message: str) -> None:
    state = through_bytes(told(TINY).checkpoints[-1].state)
    with pytest.raises(EngineError, match=f"^/from: .*{message}") as refused:
        told(job, extend=state)
    assert refused.value.reason is Reason.INVALID


@pytest.mark.parametrize("job", [TEST, TINY | {"schedule": AUTO}], ids=["range test", "auto"])
def test_a_range_test_is_not_extended(job: dict[str, Any]) -> None:
    state = through_bytes(first_checkpoint(job).state)
    with pytest.raises(EngineError, match=r"^/from: .* in a range test"):
        told(TINY | LONGER, extend=state)
