"""Compares schedules over seeds: tables with paired differences, and a picture of their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from outcomes import Record
from pydantic import TypeAdapter
from scipy import stats  # type: ignore[import-untyped]  # ships no types
from suggestion_report import markdown

from schedules import Policy
from schedules.analysis import Suggestion
from schedules.values import F64

LEVEL, SMALLEST = 0.05, 0.001
PER_EPOCH = 300
"""Iterations of the MLP."""


@dataclass(frozen=True)
class Study:
    """The trainings of one model, and the arm that the others are compared with."""

    name: str
    data: str
    suggestions: Mapping[str, Suggestion]
    baseline: str
    arms: Sequence[str]
    records: Sequence[Record]

    def values(self, arm: str, field: str) -> dict[int, float]:
        """Seed -> value."""
        return {r["seed"]: r[field] for r in self.records if r["arm"] == arm}


@dataclass(frozen=True)
class Difference:
    """Paired differences of the validation error to the baseline's, in percentage points."""

    mean: float
    half_width: float
    p: float


def difference(study: Study, arm: str) -> Difference | None:
    """Over the seeds that both have, with a 95 % t-interval; None with fewer than two."""
    ours, base = study.values(arm, "error"), study.values(study.baseline, "error")
    seeds = sorted(ours.keys() & base.keys())
    if len(seeds) < 2 or arm == study.baseline:  # noqa: PLR2004 - one has no spread
        return None
    d = 100 * np.array([ours[seed] - base[seed] for seed in seeds])
    half_width = stats.t.ppf(1 - LEVEL / 2, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return Difference(float(d.mean()), float(half_width), float(stats.ttest_1samp(d, 0).pvalue))


def holm(p: Sequence[float]) -> F64:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979), in the order given.

    >>> holm([0.04, 0.01, 0.03])
    array([0.06, 0.03, 0.06])
    """
    order = np.argsort(p)
    steps = np.arange(len(p), 0, -1) * np.asarray(p)[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def report(study: Study) -> str:
    """The bounds, then a line an arm."""
    arms = [arm for arm in study.arms if study.values(arm, "error")]
    differences = {arm: found for arm in arms if (found := difference(study, arm))}
    adjusted = dict(zip(differences, holm([each.p for each in differences.values()]), strict=True))
    rows = []
    for arm in arms:
        error, least = (
            100 * np.array(list(study.values(arm, field).values()))
            for field in ("error", "best_error")
        )
        loss, iterations = (
            np.array(list(study.values(arm, field).values())) for field in ("loss", "iterations")
        )
        spread = f"{error.std(ddof=1):.2f}" if error.size > 1 else "-"
        compared = ["-", "-", "-"]
        if arm in differences:
            found, p = differences[arm], adjusted[arm]
            verdict = ("better" if found.mean < 0 else "worse") if p < LEVEL else "not significant"
            interval = f"{found.mean:+.2f} ± {found.half_width:.2f}"
            compared = [interval, f"{p:.3f}" if p >= SMALLEST else f"< {SMALLEST}", verdict]
        rows.append(
            [
                arm,
                f"{error.size}",
                f"{error.mean():.2f} ± {spread}",
                f"{error.min():.2f}",
                f"{least.mean():.2f}",
                f"{loss.mean():.3f}",
                f"{iterations.max():,}",
                *compared,
            ]
        )
    headers = (
        *("schedule", "seeds", "final error, %: mean ± sd", "lowest", "best epoch's, mean"),
        *("final loss", "iterations", f"difference to {study.baseline} (95 %)", "p (Holm)", ""),
    )
    bounds = "".join(
        f"- Range test of {name}: base_lr {found.base_lr:.3g}, max_lr {found.max_lr:.3g}, "
        f"fixed_lr {found.fixed_lr:.3g}.\n"
        for name, found in study.suggestions.items()
    )
    return f"## {study.name} on {study.data}\n\n{bounds}\n{markdown(headers, rows)}"


def plot(study: Study, path: Path) -> None:
    """A column a schedule: learning rate above, mean training loss over the seeds below."""
    mpl.rcParams.update({"svg.hashsalt": "stepsize", "font.size": 8})
    arms = [arm for arm in study.arms if study.values(arm, "curve")]
    figure, axes = plt.subplots(
        2, len(arms), figsize=(1.4 * len(arms), 3.2), sharex=True, sharey="row", squeeze=False
    )
    policy: TypeAdapter[Policy] = TypeAdapter(Policy)
    for (above, below), arm in zip(axes.T, arms, strict=True):
        records = [record for record in study.records if record["arm"] == arm]
        n = records[0]["iterations"]
        schedule = policy.validate_python(records[0]["schedule"])
        resolved = schedule.resolve(iterations_per_epoch=PER_EPOCH)
        above.plot(np.arange(n) / PER_EPOCH, resolved.lr_at(np.arange(n), iterations=n))
        loss = np.array([record["curve"] for record in records], dtype=np.float64).mean(axis=0)
        below.semilogy((np.arange(loss.size) + 0.5) * n / loss.size / PER_EPOCH, loss, color="C1")
        above.set_title(arm)
        below.set_xlabel("epoch")
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("training loss")
    ticks = (0.2, 0.3, 0.5, 1.0)
    axes[1, 0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[1, 0].minorticks_off()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
