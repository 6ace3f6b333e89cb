"""Recipes: find the learning rates, then every schedule with every seed, each once."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import choosing
from api.problems import InvalidError
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.recipes import ANY_SWEEP, RecipeSpec
from spec.sweeps import SweepSpec
from store.outcomes import LOOKING
from sweeps.configurations import digest, job_spec
from sweeps.proposing import promised, propose
from sweeps.ranking import Row, rank
from sweeps.recipes import STEP, base, stuck
from sweeps.trials import Proposal, Trial
from tests.policies import NAMES
from tests.sweeping import TEMPLATE as TRAINING

TEMPLATE = {name: TRAINING[name] for name in TRAINING if name not in {"kind", "schedule"}}
SUGGESTION = {"base_lr": 0.02, "max_lr": 0.08, "fixed_lr": 0.05}
OK = {"status": "ok", "suggestion": SUGGESTION}
SEARCH = {
    "name": "coarse_to_fine", "low": 1e-4, "high": 1, "iterations": 20, "rounds": 1, "points": 3
}  # fmt: skip

Outcome = Callable[[Proposal], dict[str, Any]]


def recipe(**fields: Any) -> RecipeSpec:
    """A recipe as a client sends it, parsed."""
    found = ANY_SWEEP.validate_python({"kind": "recipe", "template": TEMPLATE, **fields})
    assert isinstance(found, RecipeSpec)
    return found


def ended(proposal: Proposal) -> dict[str, Any]:
    """How a trial ends: a range test with a suggestion, a training with a value."""
    if proposal.parameters[STEP] == "range_test":
        return {"state": "done", "result": OK}
    rate = proposal.parameters.get("/schedule/lr", 0.05)
    assert isinstance(rate, float)
    return {"state": "done", "value": None if rate > 0.5 else abs(rate - 0.04)}


def job(spec: RecipeSpec, each: Proposal | Trial) -> RangeTestSpec | TrainingSpec:
    return job_spec(base(spec, each.parameters), each.parameters)


def ran(spec: RecipeSpec, outcome: Outcome = ended, *, at_once: int = 100) -> list[Trial]:
    """The trials of a recipe, each ended at once."""
    trials: list[Trial] = []
    while proposals := propose(spec, trials, at_once):
        for each in proposals:
            trials.append(Trial(len(trials), each.parameters, memory=each.memory, **outcome(each)))
    return trials


def compared(trials: list[Trial]) -> list[Trial]:
    return [each for each in trials if each.parameters[STEP] == "compare"]


def test_the_range_test_first_then_every_schedule_with_every_seed() -> None:
    spec = recipe()
    first, *rest = ran(spec)
    test = job(spec, first)
    assert isinstance(test, RangeTestSpec)
    assert (test.repeats, test.range.iterations, test.model.name) == (3, 300, "mlp")
    assert (first.parameters, first.memory) == (
        {STEP: "range_test", "/seed": 3},
        {"stage": "find"},
    )
    assert [(t.parameters["/schedule/policy"], t.parameters["/seed"]) for t in rest] == [
        (name, seed)
        for seed in (0, 1, 2)
        for name in ("constant", "cosine", "sgdr", "one_cycle", "triangular2")
    ]
    assert promised(spec) == 16 == len({digest(job(spec, each)) for each in (first, *rest)})
    constant, cosine, sgdr, one_cycle, triangular2 = (t.parameters for t in rest[:5])
    assert constant == {
        STEP: "compare", "/schedule/policy": "constant", "/schedule/lr": 0.05, "/seed": 0
    }  # fmt: skip
    assert cosine["/schedule/lr"] == sgdr["/schedule/lr"] == 0.05
    assert one_cycle["/schedule/max_lr"] == triangular2["/schedule/max_lr"] == 0.08
    assert triangular2["/schedule/base_lr"] == 0.02
    assert {each.memory["stage"] for each in rest}.isdisjoint(LOOKING)
    assert first.memory["stage"] in LOOKING
    assert {job(spec, each).tags["step"] for each in rest} == {"compare"}


def test_seeds_are_paired_in_the_ranking() -> None:
    spec = recipe(seeds=[3, 1, 4])
    rows = [
        Row(each.parameters, 0.9 + 0.01 * each.number + 0.1 * (each.parameters["/seed"] == 4))
        for each in compared(ran(spec))
    ]
    places = rank(rows, "maximize", repeated=("/seed",))
    assert [each.parameters["/schedule/policy"] for each in places] == [
        "triangular2", "one_cycle", "sgdr", "cosine", "constant"
    ]  # fmt: skip
    assert {each.n for each in places} == {3}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([{"name": "range_test"}, SEARCH]))
def test_whatever_the_order_the_same_jobs_each_once(
    data: st.DataObject, find: dict[str, Any]
) -> None:
    spec = recipe(
        find=find, schedules=[{"policy": "constant"}, {"policy": "triangular2"}], seeds=[5, 0]
    )
    usual = ran(spec)
    trials: list[Trial] = []
    while True:
        parallel = data.draw(st.integers(1, 5))
        waiting = [each.number for each in trials if not each.ended]
        new = propose(spec, trials, max(0, parallel - len(waiting)))
        trials += [
            Trial(len(trials) + i, each.parameters, "running", None, each.memory)
            for i, each in enumerate(new)
        ]
        waiting = [each.number for each in trials if not each.ended]
        assert len(waiting) <= max(5, parallel)
        if not waiting:
            break
        number = data.draw(st.sampled_from(waiting))
        one = trials[number]
        failed = one.parameters[STEP] == "compare" and data.draw(st.booleans())
        told = {"state": "failed"} if failed else ended(Proposal(one.parameters))
        trials[number] = Trial(number, one.parameters, memory=one.memory, **told)
    assert len(trials) <= promised(spec)
    key = [{digest(job(spec, each)) for each in some} for some in (trials, usual)]
    assert key[0] == key[1]
    assert len(key[0]) == len(trials) == len(usual)


def test_coarse_to_fine_finds_one_rate_for_all() -> None:
    spec = recipe(find=SEARCH, seeds=[0])
    trials = ran(spec)
    steps = [each.parameters[STEP] for each in trials]
    assert steps == ["coarse"] * 5 + ["fine"] * 3 + ["compare"] * 5
    assert len(trials) == promised(spec)
    brief, fine = job(spec, trials[0]), job(spec, trials[5])
    assert isinstance(brief, TrainingSpec)
    assert isinstance(fine, TrainingSpec)
    assert [each.iterations(iterations_per_epoch=1) for each in (brief, fine)] == [20, 100]
    assert brief.schedule.policy == fine.schedule.policy == "constant"
    best = min(trials[5:8], key=lambda each: each.value or 0).parameters["/schedule/lr"]
    assert isinstance(best, float)
    (constant, *_), cycle = compared(trials), compared(trials)[-1]
    assert constant.parameters["/schedule/lr"] == best
    assert cycle.parameters["/schedule/max_lr"] == pytest.approx(1.5 * best)
    assert cycle.parameters["/schedule/base_lr"] == pytest.approx(1.5 * best / 4)


@pytest.mark.parametrize("find", [{"name": "range_test"}, SEARCH])
def test_nothing_is_compared_while_the_rates_are_sought(find: dict[str, Any]) -> None:
    spec = recipe(find=find)
    trials = ran(spec)
    for each in trials:
        if each.parameters[STEP] == "compare":
            break
        waiting = Trial(each.number, each.parameters, "running", None, each.memory)
        following = propose(spec, [*trials[: each.number], waiting], 100)
        assert "compare" not in {each.parameters[STEP] for each in following}


def test_rates_that_were_found_stay_what_they_are() -> None:
    """Another run of what found them, or its deletion, changes nothing for those to come."""
    spec = recipe()
    first, *rest = ran(spec)
    for other in (
        {"state": "failed"},
        {"state": "running"},
        {"state": "done", "result": {"suggestion": dict.fromkeys(SUGGESTION, 1.0)}},
    ):
        now = [Trial(0, first.parameters, memory=first.memory, **other), *rest[:3]]  # type: ignore[arg-type]
        assert [each.parameters for each in propose(spec, now, 100)] == [
            each.parameters for each in rest[3:]
        ]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"state": "failed"}, "then retry"),
        ({"state": "stopped"}, "submit the recipe again"),
        (
            {
                "state": "done",
                "result": {"status": "too_noisy", "suggestion": None, "advice": "More repeats."},
            },
            "'too_noisy' and suggests no learning rate. More repeats. Then submit",
        ),
    ],
)
def test_a_range_test_that_finds_nothing_says_what_to_do(told: dict[str, Any], why: str) -> None:
    spec = recipe()
    trials = ran(spec, lambda _: told)
    assert len(trials) == 1
    assert why in (stuck(spec, trials) or "")
    assert stuck(spec, ran(spec)) is None


def test_a_search_that_finds_nothing_says_so_too() -> None:
    spec = recipe(find=SEARCH)
    trials = ran(spec, lambda _: {"state": "done"})
    assert len(trials) == 5
    assert "no job of the search has a val_loss" in (stuck(spec, trials) or "")


@pytest.mark.parametrize("name", sorted({*NAMES} - {"auto"}))
def test_rates_of_every_policy_may_be_left_out(name: str) -> None:
    """The others name the field that only who asks can know."""
    theirs = {
        "multi_step": {"milestones": [50]},
        "exponential": {"gamma": 0.99},
        "exp_range": {"gamma": 1.0},
        "inverse_sqrt": {"timescale": 10},
        "noam": {"d_model": 64, "warmup": 10},
        "piecewise": {
            "pieces": [
                {"schedule": {"policy": "constant", "lr": {"range_test": "auto"}}, "length": 50},
                {"schedule": {"policy": "linear", "lr": {"range_test": "auto"}}},
            ]
        },
        "plateau": {"metric": "train_loss"},
    }.get(name, {})
    spec = recipe(schedules=[{"policy": name, **theirs}])
    if theirs and name not in {"plateau", "piecewise"}:
        with pytest.raises(InvalidError) as error:
            choosing.first_of(recipe(schedules=[{"policy": name}]))
        assert {each.pointer for each in error.value.errors} == {
            f"/schedules/0/{field}" for field in theirs
        }
    choosing.first_of(spec)
    trained = job(spec, compared(ran(spec))[0])
    assert isinstance(trained, TrainingSpec)
    assert trained.schedule.references() == []
    highest = max(trained.schedule.lr_at(range(100), iterations=100))
    assert name == "noam" or highest == pytest.approx(0.05) or highest == pytest.approx(0.08)
    assert trained.warnings() == []


@given(
    length=st.integers(1, 2000),
    policy=st.sampled_from(["triangular", "triangular2", "sgdr"]),
    growth=st.integers(1, 30),
    warmup=st.none() | st.integers(1, 50),
)
def test_runs_end_with_whole_cycles(
    length: int, policy: str, growth: int, warmup: int | None
) -> None:
    extra = {"t_mult": growth} if policy == "sgdr" else {}
    template = {**TEMPLATE, "length": {"iterations": length}}
    spec = recipe(
        template=template, schedules=[{"policy": policy, "warmup": warmup, **extra}], seeds=[0]
    )
    (each,) = compared(ran(spec))
    trained = job(spec, each)
    assert isinstance(trained, TrainingSpec)
    total = trained.iterations(iterations_per_epoch=1)
    cycles = trained.schedule.whole_cycles(total)
    assert trained.schedule.cycle_end(cycles) == total
    room = length - (warmup or 0)
    unit = 2 if policy != "sgdr" else 1
    assert total <= length or room < unit
    assert cycles in {1, 3}


def test_lengths_in_epochs() -> None:
    template = {**TEMPLATE, "length": {"epochs": 9}}
    spec = recipe(
        template=template,
        schedules=[{"policy": "triangular2"}, {"policy": "sgdr", "t_mult": 2}],
        seeds=[0],
    )
    cycle, restarts = (job(spec, each) for each in compared(ran(spec)))
    assert isinstance(cycle, TrainingSpec)
    assert isinstance(restarts, TrainingSpec)
    assert cycle.schedule.model_dump()["step_size"] == {"epochs": 1.5}
    schedule = restarts.schedule.resolve(iterations_per_epoch=700)
    assert schedule.cycle_end(3) == 9 * 700


def test_what_is_given_is_kept() -> None:
    schedules = [{"policy": "triangular2", "max_lr": 0.5, "step_size": 10}]
    (each,) = compared(ran(recipe(schedules=schedules, seeds=[0])))
    assert each.parameters == {
        STEP: "compare",
        "/schedule/policy": "triangular2",
        "/schedule/max_lr": 0.5,
        "/schedule/step_size": 10,
        "/schedule/base_lr": 0.02,
        "/seed": 0,
    }


def test_a_given_rate_that_is_the_one_found_runs_once() -> None:
    spec = recipe(schedules=[{"policy": "constant"}, {"policy": "constant", "lr": 0.05}])
    for at_once in (1, 100):
        assert len(ran(spec, at_once=at_once)) == 4
    choosing.first_of(spec)


def test_rates_are_found_with_a_seed_that_nothing_is_compared_with() -> None:
    for own, seeds, expected in ((7, [0, 1], 7), (1, [0, 1], 2), (None, [1, 2], 0)):
        template = TEMPLATE if own is None else {**TEMPLATE, "seed": own}
        for find in ({"name": "range_test"}, SEARCH):
            first, *_ = propose(recipe(template=template, seeds=seeds, find=find), [], 1)
            assert first.parameters["/seed"] == expected


def test_what_only_trainings_have_is_no_field_of_the_range_test() -> None:
    template = {**TEMPLATE, "evaluate": {"every": {"epochs": 1}}, "tags": {"of": "me"}}
    spec = recipe(template=template, find={"name": "range_test", "repeats": 5, "loss": "probe"})
    test, training, *_ = (job(spec, each) for each in ran(spec))
    assert isinstance(test, RangeTestSpec)
    assert isinstance(training, TrainingSpec)
    assert (test.repeats, test.loss, test.evaluate) == (5, "probe", None)
    assert test.tags == {"of": "me", "step": "range_test"}
    assert training.evaluate is not None


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"schedules": [{"policy": "cosine"}, {"policy": "cyclic"}]}, "/schedules/1", "cyclic"),
        ({"schedules": [{"lr": 1}]}, "/schedules/0", ""),
        ({"schedules": [{"policy": ["x"]}]}, "/schedules/0", ""),
        ({"schedules": [{"policy": "auto"}]}, "/schedules/0/policy", "itself"),
        (
            {"schedules": [{"policy": "cosine"}, {"policy": "cosine", "min_lr": 0.0}]},
            "/schedules/1",
            "twice",
        ),
        (
            {"schedules": [{"policy": "triangular", "step_size": 0}]},
            "/schedules/0/step_size",
            "greater",
        ),
        (
            {"schedules": [{"policy": "sgdr", "t_0": {"epochs": 1}, "t_mult": "x"}]},
            "/schedules/0/t_mult",
            "integer",
        ),
        (
            {"schedules": [{"policy": "triangular", "warmup": {"epochs": 1}}]},
            "/schedules/0/step_size",
            "required",
        ),
        ({"schedules": [{"policy": "cosine", "lr": 0.1, "min_lr": 1}]}, "/schedules/0/min_lr", ""),
        ({"find": {**SEARCH, "path": "/schedule/lr"}}, "/find/path", "leave it out"),
        ({"seeds": list(range(100)), "schedules": [{"policy": "rex"}] * 2}, "/schedules/1", ""),
        ({"template": {**TEMPLATE, "schedule": {}}}, "/template/schedule", "leave it out"),
        ({"template": {**TEMPLATE, "from": {}}}, "/template/from", "leave it out"),
        ({"template": {**TEMPLATE, "kind": "range_test"}}, "/template/kind", "training"),
        ({"template": {**TEMPLATE, "length": {"cycles": 3}}}, "/template/length", "cycles"),
        ({"template": {**TEMPLATE, "length": 3}}, "/template/length", "exactly one"),
        ({"template": {}}, "/template/length", "how long"),
        ({"template": {"length": {"epochs": 1}}}, "/template/model", "required"),
        ({"template": {**TEMPLATE, "tags": 3}}, "/template/tags", ""),
        ({"template": {**TEMPLATE, "snapshots": "cycle_end"}}, "/template/snapshots", "constant"),
        ({"template": {**TEMPLATE, "nonsense": 1}}, "/template/nonsense", ""),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], pointer: str, detail: str) -> None:
    with pytest.raises(InvalidError) as error:
        choosing.first_of(recipe(**fields))
    wrong = error.value.errors
    assert any(each.pointer.startswith(pointer) for each in wrong), wrong
    assert any(detail in each.detail for each in wrong), wrong


def test_what_is_found_may_not_suit_a_rate_that_was_given() -> None:
    """All of it is checked before the first training of them runs."""
    spec = recipe(schedules=[{"policy": "constant"}, {"policy": "triangular", "base_lr": 0.5}])
    choosing.first_of(spec)
    with pytest.raises(InvalidError) as error:
        choosing.next_of(spec, ran(spec)[:1], 1)
    assert [each.pointer for each in error.value.errors] == ["/schedules/1/max_lr"]


def test_a_sweep_needs_no_kind() -> None:
    found = ANY_SWEEP.validate_python({"template": TRAINING, "space": {"/seed": [0]}})
    assert isinstance(found, SweepSpec)
    assert ANY_SWEEP.validate_python(recipe().model_dump(mode="json")) == recipe()
