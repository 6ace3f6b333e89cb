"""A population trains every run as it would train alone, and each comes and goes by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spec.components import SgdParams
from spec.jobs import JOB_SPEC, TrainingSpec
from spec.lengths import InIterations
from spec.population import population_key
from sweeps.configurations import job_spec
from sweeps.proposing import expand
from tests.sweeping import sweep
from tests.worker.engine.conftest import CPU, TRAINING, Record
from worker.engine import (
    Block,
    Checkpoint,
    EngineError,
    Event,
    Finished,
    Pace,
    Plan,
    population_size,
    run,
    run_population,
)
from worker.engine.device import no_compiler
from worker.engine.population import size
from worker.engine.population.stack import Stack
from worker.engine.prepare import prepared

OFTEN = Pace(first=0, longest=0)
"""A block for every update."""

Told = list[Event | EngineError]


def spec(**changes: Any) -> TrainingSpec:
    made = JOB_SPEC.validate_python(TRAINING | {"population": True} | changes)
    assert isinstance(made, TrainingSpec)
    return made


def together(
    specs: list[TrainingSpec], tmp_path: Path, left: set[int] | None = None, **options: Any
) -> list[Told]:
    """What each member is told."""
    told: list[Told] = [[] for _ in specs]
    leaving = set() if left is None else left
    for index, event in run_population(
        specs, device=CPU, data_dir=tmp_path, left=leaving, **options
    ):
        told[index].append(event)
    return told


def alone(each: TrainingSpec, tmp_path: Path) -> Told:
    return list(run(each, device=CPU, data_dir=tmp_path))


def blocks(told: Told) -> list[Block]:
    return [each for each in told if isinstance(each, Block)]


def column(told: Told, name: str) -> NDArray[Any]:
    rows = [each for each in blocks(told) if name in each.columns]
    if not name.startswith("val_"):
        ends = [each.start + len(each) for each in rows]
        assert [each.start for each in rows] == [0, *ends[:-1]]
    return np.concatenate([each.columns[name] for each in rows])


def result(told: Told) -> dict[str, Any]:
    assert isinstance(told[-1], Finished)
    return {name: each for name, each in told[-1].result.items() if name != "seconds"}


EVALUATED: dict[str, Any] = {"evaluate": {"every": {"iterations": 25}}}

SCHEDULES: list[dict[str, Any]] = [
    {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.05, "step_size": 20},
    {"policy": "one_cycle", "max_lr": 0.03},
    {"policy": "constant", "lr": 0.01},
    {"policy": "plateau", "lr": 0.02, "metric": "val_loss", "patience": 0},
]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sgd", [{}, {"momentum": 0.9}, {"weight_decay": 0.01}, {"momentum": 0.5}]),
        ("sgd", [{"momentum": m, "nesterov": True} for m in (0.5, 0.9, 0.95, 0.99)]),
        ("adam", [{}, {"betas": [0.5, 0.999]}, {"weight_decay": 0.01}, {}]),
        ("adam", [{"amsgrad": True}] * 4),
        ("adamw", [{}, {"weight_decay": 0.5}, {"betas": [0.8, 0.999]}, {"weight_decay": 0.0}]),
    ],
)
def test_each_run_is_what_it_would_be_alone(
    name: str, params: list[dict[str, Any]], tmp_path: Path
) -> None:
    specs = [
        spec(
            seed=i,
            schedule=SCHEDULES[i],
            optimizer={"name": name, "params": each},
            length={"iterations": 120},
            evaluate={"every": {"iterations": 50}},
            record=["accuracy", "grad_norm"],
        )
        for i, each in enumerate(params)
    ]
    assert len({population_key(each) for each in specs}) == 1
    for each, told in zip(specs, together(specs, tmp_path), strict=True):
        single = alone(each, tmp_path)
        assert column(told, "lr").tolist() == column(single, "lr").tolist()
        for series in ("loss", "accuracy", "grad_norm", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(
                column(told, series), column(single, series), rtol=2e-3, atol=2e-4, err_msg=series
            )
        found, expected = result(told), result(single)
        assert found.keys() == expected.keys()
        assert found["best"]["iteration"] == expected["best"]["iteration"]
        assert isinstance(told[0], Plan)
        assert told[0].notes["population"] == len(specs)


def test_runs_of_different_lengths_each_end_with_their_own(tmp_path: Path) -> None:
    cycle = {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.05, "step_size": 10}
    specs = [
        spec(seed=0, length={"iterations": 70}, **EVALUATED),
        spec(seed=1, length={"cycles": 2}, schedule=cycle, **EVALUATED),
        spec(seed=2, length={"cycles": 1}, schedule=cycle | {"step_size": 30}, **EVALUATED),
        spec(seed=3, length={"iterations": 55}, schedule=SCHEDULES[1], **EVALUATED),
    ]
    lengths, evaluated = [70, 40, 60, 55], [[25, 50, 70], [25, 40], [25, 50, 60], [25, 50, 55]]
    for each, told, length, at in zip(
        specs, together(specs, tmp_path), lengths, evaluated, strict=True
    ):
        single = alone(each, tmp_path)
        assert len(column(told, "loss")) == result(told)["iterations"] == length
        assert column(told, "lr").tolist() == column(single, "lr").tolist()
        assert [each.start for each in blocks(told) if each.series == "validation"] == at
        for series in ("loss", "val_loss"):
            np.testing.assert_allclose(column(told, series), column(single, series), rtol=1e-4)


def test_one_that_is_at_its_end_already_ends_at_once(tmp_path: Path) -> None:
    specs = [spec(seed=i, length={"iterations": n}) for i, n in enumerate((30, 60))]
    short = [each.model_copy(update={"length": InIterations(iterations=30)}) for each in specs]
    before = together(short, tmp_path)
    states = [each.state for told in before for each in told if isinstance(each, Checkpoint)]
    ended, other = together(specs, tmp_path, resume=states)
    assert [type(each) for each in ended] == [Plan, Finished]
    assert result(ended) == result(before[0])
    assert result(other)["iterations"] == 60


def test_a_convolutional_model(tmp_path: Path) -> None:
    model = {"name": "lenet", "params": {"channels": [3, 5], "hidden": 16}}
    specs = [spec(seed=i, model=model, length={"iterations": 30}) for i in range(3)]
    for each, told in zip(specs, together(specs, tmp_path), strict=True):
        np.testing.assert_allclose(
            column(told, "loss"), column(alone(each, tmp_path), "loss"), rtol=1e-4, atol=1e-5
        )


def test_a_run_that_diverges_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    params = [{}, {"weight_decay": 1000.0}, {}]
    specs = [
        spec(seed=i, optimizer={"name": "sgd", "params": each}) for i, each in enumerate(params)
    ]
    told = together(specs, tmp_path)
    singles = [alone(each, tmp_path) for each in specs]
    assert result(told[1]) == result(singles[1])
    assert result(told[1])["diverged_at"] is not None
    assert result(told[1])["iterations"] < 50
    for i in (0, 2):
        np.testing.assert_allclose(
            column(told[i], "loss"), column(singles[i], "loss"), rtol=1e-4, atol=1e-5
        )


def test_a_run_that_is_dropped_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    specs = [spec(seed=i) for i in range(3)]
    told: list[Told] = [[], [], []]
    left = set[int]()
    for index, event in run_population(specs, device=CPU, data_dir=tmp_path, left=left, pace=OFTEN):
        told[index].append(event)
        if isinstance(event, Block) and event.start == 10:
            left.add(1)
    assert len(column(told[1], "loss")) in {11, 12}
    assert not isinstance(told[1][-1], Finished)
    for i in (0, 2):
        np.testing.assert_allclose(
            column(told[i], "loss"), column(alone(specs[i], tmp_path), "loss"), rtol=1e-4, atol=1e-5
        )


def test_one_may_have_left_before_the_first_update(tmp_path: Path) -> None:
    first, second = together([spec(), spec(seed=1)], tmp_path, left={0})
    assert [type(each) for each in first] == [Plan]
    assert len(column(second, "loss")) == 50


def test_it_ends_when_all_have_left(tmp_path: Path) -> None:
    left = set[int]()
    events = run_population(
        [spec(seed=i, length={"iterations": 10**6}) for i in range(2)],
        device=CPU,
        data_dir=tmp_path,
        left=left,
        pace=OFTEN,
    )
    for _, event in events:
        if isinstance(event, Block):
            left |= {0, 1}
    assert left == {0, 1}


def test_a_member_with_an_error_fails_alone(tmp_path: Path) -> None:
    unresolved = {"policy": "constant", "lr": {"range_test": "job_1"}}
    fine, failed = together([spec(), spec(schedule=unresolved)], tmp_path)
    assert isinstance(failed[-1], EngineError)
    assert len(column(fine, "loss")) == 50


def test_blocks_may_be_cut_anywhere(tmp_path: Path) -> None:
    specs = [spec(seed=i, evaluate={"every": {"iterations": 7}}) for i in range(2)]
    usual, cut = together(specs, tmp_path), together(specs, tmp_path, pace=OFTEN)
    for a, b in zip(usual, cut, strict=True):
        for series in ("loss", "val_loss"):
            assert column(a, series).tobytes() == column(b, series).tobytes()
        assert result(a) == result(b)


def test_losses_drift_apart_by_rounding_only(tmp_path: Path) -> None:
    """In double precision there would be nothing to see; in single, a hundred updates keep 1e-5."""
    specs = [spec(seed=i, length={"iterations": 100}) for i in range(16)]
    difference = max(
        np.abs(column(told, "loss") - column(alone(each, tmp_path), "loss")).max()
        for each, told in zip(specs, together(specs, tmp_path), strict=True)
    )
    assert 0 < difference < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"population": False},
        {"model": {"name": "resnet"}},
        {"model": {"name": "mlp", "params": {"dropout": 0.5}}},
        {"optimizer": {"name": "rmsprop"}},
        {"clipping": {"norm": 1.0}},
        {"accumulation": 2},
        {"lr_groups": {"layer_decay": 2.0}},
        {"record": ["probe_loss"]},
        {"schedule": {"policy": "hypergradient", "lr": 0.1}},
        {
            "schedule": {"policy": "triangular", "base_lr": 0.1, "max_lr": 0.2, "step_size": 9},
            "snapshots": "cycle_end",
        },
    ],
)
def test_what_cannot_be_stacked_trains_alone(changes: dict[str, Any]) -> None:
    assert population_key(spec(**changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 16},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"name": "sgd", "params": {"momentum": 0.9, "nesterov": True}}},
        {"model": {"name": "mlp", "params": {"hidden": [33]}}},
        {"precision": "bf16"},
        {"evaluate": {"every": {"iterations": 5}}},
        {"record": ["accuracy"]},
    ],
)
def test_other_programs_have_other_keys(changes: dict[str, Any]) -> None:
    assert population_key(spec(**changes)) not in {None, population_key(spec())}


def test_hyperparameters_do_not_change_the_key() -> None:
    other = spec(
        seed=5,
        name="other",
        priority=3,
        tags={"a": "b"},
        schedule=SCHEDULES[1],
        optimizer={"name": "sgd", "params": {"momentum": 0.3, "weight_decay": 0.1}},
        length={"epochs": 3.0},
    )
    assert population_key(other) == population_key(spec())


CYCLICAL = TRAINING | {
    "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20},
    "length": {"cycles": 3},
}


@pytest.mark.parametrize(
    "space",
    [
        {"/schedule/max_lr": [0.1, 0.2], "/schedule/base_lr": [0.01, 0.02]},
        {"/schedule/policy": ["triangular", "triangular2"]},
        {"/schedule/step_size": [20, 30, {"epochs": 0.5}]},
        {
            "/schedule": [
                CYCLICAL["schedule"],
                {"policy": "sgdr", "lr": 0.1, "t_0": {"epochs": 1.0}, "t_mult": 2},
            ],
            "/schedule/max_lr": {
                "values": [0.1, 0.2],
                "when": {"/schedule/policy": ["triangular"]},
            },
        },
        {
            "/schedule": [
                {"policy": "constant", "lr": 0.1},
                {"policy": "one_cycle", "max_lr": 0.1},
                {"policy": "cosine", "lr": 0.1, "min_lr": 0.0},
                {"policy": "plateau", "lr": 0.1},
            ],
            "/length": [{"iterations": 60}, {"epochs": 2.0}],
        },
        {"/optimizer/params/momentum": [0.8, 0.9], "/optimizer/params/weight_decay": [0, 1e-4]},
        {"/seed": [0, 1, 2], "/length/cycles": [2, 3]},
    ],
)
def test_what_sweeps_vary_is_one_population(space: dict[str, Any]) -> None:
    made = expand(sweep(space, template=CYCLICAL))
    keys = {population_key(job_spec(CYCLICAL, each)) for each in made}
    assert len(made) > 1
    assert len(keys) == 1
    assert keys != {None}


# How many


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, float]]:
    """Seconds that an update of so many runs takes, to be set by a test."""
    seconds: dict[int, float] = {}
    monkeypatch.setattr(size, "FILLED", 1.0)
    monkeypatch.setattr(size, "_alone", lambda *_: 1.0)
    monkeypatch.setattr(size, "_together", lambda _recipe, _spec, runs: seconds[runs])
    size._best.cache_clear()
    yield seconds
    size._best.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({2: 1.5, 4: 1.6, 8: 2.0, 16: 3.0, 32: 7.0, 64: 15.0}, 16),
        ({2: 2.1, 4: 2.5, 8: 8.0, 16: 16.0}, 4),
        ({2: 2.0, 4: 4.1}, 1),
        ({2: 1.9, 4: 4.1, 8: 8.1}, 1),
    ],
)
def test_the_fastest_size_is_taken_and_one_where_it_does_not_pay(
    tmp_path: Path, gains: dict[int, float], seconds: dict[int, float], best: int
) -> None:
    gains.update(seconds)
    assert population_size(spec(), device=CPU, data_dir=tmp_path, most=100) == best
    assert population_size(spec(seed=3), device=CPU, data_dir=tmp_path, most=3) == min(best, 3)


def test_jobs_that_differ_in_hyperparameters_are_measured_once(
    tmp_path: Path, gains: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    gains.update(dict.fromkeys(size.SIZES, 1.0))
    measured = []
    real = size._together
    monkeypatch.setattr(size, "_together", lambda *args: (measured.append(args[2]), real(*args))[1])
    for i, schedule in enumerate(SCHEDULES):
        params = {"momentum": i / 10}
        other = spec(seed=i, schedule=schedule, optimizer={"name": "sgd", "params": params})
        assert population_size(other, device=CPU, data_dir=tmp_path, most=3) == 3
    assert measured == [2, 4]  # and none larger than there are jobs for


def test_where_measuring_fails_the_repeats_climb_alone_and_it_is_said(
    range_test: Record, gains: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise RuntimeError("no tracing today")

    monkeypatch.setattr(size, "_together", broken)
    found = range_test(population=True)
    assert found.plan.warnings == ("the repeats climb one by one: RuntimeError: no tracing today",)
    assert found.column("loss").tobytes() == range_test().column("loss").tobytes()


def test_what_fills_a_processor_is_not_measured(
    tmp_path: Path, gains: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size, "_alone", lambda *_: 1.1)
    assert gains == {}
    assert population_size(spec(), device=CPU, data_dir=tmp_path, most=6) == 1


def test_it_can_be_measured(tmp_path: Path) -> None:
    size._best.cache_clear()
    assert 1 <= population_size(spec(), device=CPU, data_dir=tmp_path, most=6) <= 6


def test_memory_is_the_limit(
    tmp_path: Path, gains: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    gains.update(dict.fromkeys(size.SIZES, 1.0))
    monkeypatch.setattr("worker.engine.memory.available", lambda _: 1_000_000)
    found = population_size(spec(), device=CPU, data_dir=tmp_path, most=64)
    assert 2 <= found < 64


# Repeats of a range test


@pytest.mark.parametrize("changes", [{}, {"loss": "validation"}, {"record": ["accuracy"]}])
def test_repeats_climb_together_as_they_would_alone(
    range_test: Record, changes: dict[str, Any], gains: dict[int, float]
) -> None:
    gains.update(dict.fromkeys(size.SIZES, 1.0))
    single = range_test(repeats=4, **changes)
    found = range_test(repeats=4, population=True, **changes)
    assert found.plan.notes["population"] == 4
    for repeat in range(4):
        ours = found.column("loss", repeat=repeat)
        theirs = single.column("loss", repeat=repeat)
        assert abs(len(ours) - len(theirs)) <= 2
        calm = slice(len(theirs) // 2)
        np.testing.assert_allclose(ours[calm], theirs[calm], rtol=1e-3)
    assert found.result["diverged"] == single.result["diverged"]
    ratio = found.result["suggestion"]["max_lr"] / single.result["suggestion"]["max_lr"]
    assert ratio == pytest.approx(1, rel=0.1)


def test_a_low_ramp_is_extended_for_all_who_need_it(
    range_test: Record, gains: dict[int, float]
) -> None:
    gains.update(dict.fromkeys(size.SIZES, 1.0))
    ramp = {"start": 1e-4, "end": 0.3, "iterations": 60}
    single = range_test(repeats=3, range=ramp).result
    found = range_test(repeats=3, range=ramp, population=True).result
    assert found["range"] == single["range"]
    assert found["range"]["extended"] > 0
    assert found["status"] == single["status"]


@pytest.mark.skipif(no_compiler(CPU) is not None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "params": {"weight_decay": 0.01, "nesterov": True, "momentum": 0.9}},
        {"name": "adamw", "params": {"amsgrad": True}},
    ],
    ids=["sgd", "adamw"],
)
def test_compiled_it_computes_the_same(optimizer: dict[str, Any], tmp_path: Path) -> None:
    same = {"optimizer": optimizer, "record": ["accuracy", "grad_norm"]}
    specs = [spec(seed=i, **same) for i in range(3)]
    compiled = [spec(seed=i, compile=True, **same) for i in range(3)]
    for a, b in zip(together(specs, tmp_path), together(compiled, tmp_path), strict=True):
        for name, far in {"loss": 1e-5, "grad_norm": 1e-4, "accuracy": 0.02}.items():
            np.testing.assert_allclose(column(a, name), column(b, name), rtol=1e-4, atol=far)


@pytest.mark.skipif(no_compiler(CPU) is not None, reason="needs a C++ compiler")
def test_a_compiled_update_follows_when_momentum_begins_and_runs_leave(tmp_path: Path) -> None:
    losses = []
    for compile_it in (False, True):
        recipe = prepared(spec(compile=compile_it), CPU, tmp_path, runs=4)
        seeds = [np.random.SeedSequence(seed) for seed in range(4)]
        with recipe.numerics.applied():
            stack = Stack(recipe, [SgdParams()] * 4, seeds)
            told = []
            for momentum, staying in ((0.0, 4), (0.9, 4), (0.9, 2)):
                stack.keep(range(staying))
                rates = np.full((10, staying), 0.1)
                stack.plan(rates, np.full_like(rates, momentum))
                told.append(stack.read([stack() for _ in rates])["loss"].ravel())
        losses.append(np.concatenate(told))
    np.testing.assert_allclose(*losses, rtol=1e-5)
