"""What early stopping keeps and saves, by where it compares: a page and a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycle_end_replay import ETA, Outcome, Replayed
from scipy import stats  # type: ignore[import-untyped]  # ships no types
from suggestion_report import markdown

NEAR = 0.03
"""Savings that differ by no more are about the same."""

MOST = 1.5
"""Cycles before the first comparison of who does not think of them, at most."""

INTRODUCTION = """# Early stopping at the ends of cycles

Written by `benchmarks/cycle_end_stopping.py`. Inside a cycle the validation loss rises and falls by
design: should runs be compared there? Successive halving that compares at the ends of cycles
(after 1, {eta}, {eta2}, ... of them) is set against the ordinary kind, which compares after r,
{eta}r, {eta2}r, ... iterations, whatever the schedule does then, as Optuna's
`SuccessiveHalvingPruner` and Ray's `ASHAScheduler` do.

Every configuration of each search was trained to its end ({iterations} updates) and evaluated all
along; both rules are replayed on the same numbers with the same function, `sweeps.stopping.decide`:
one run in {eta} goes on, {parallel} run at a time, {orders} random orders of arrival for each seed.
The ordinary rule is replayed for many r. Whatever is chosen, the question is what is kept for what
is saved: so each rule is set against the ordinary ones that save as much.

- *kept*: how often the configuration that is best at the end was among those that ran to it.
- *regret*: by how much the final loss of the best that ran to its end is above that of the best.
- *saved*: iterations not run.

"""


def page(found: Sequence[Replayed], orders: int, parallel: int, drawn: str) -> str:
    """The document."""
    words = {"eta": ETA, "eta2": ETA**2, "iterations": 960, "orders": orders, "parallel": parallel}
    told = [
        f"- {each.name}: {each.configurations} configurations, {len(each.ends[1].seeds)} seeds; "
        f"another seed changes the best one's final loss by {each.noise:.0%} (standard deviation)."
        for each in found
    ]
    parts = [
        INTRODUCTION.format(**words),
        "\n".join(told),
        SAME,
        markdown(SAME_HEADERS, [line for each in found for line in _same(each)]).rstrip(),
        CHOSEN.format(picture=drawn),
        markdown(CHOSEN_HEADERS, [line for each in found for line in _chosen(each)]).rstrip(),
    ]
    return "\n\n".join(part.strip() for part in [*parts, SHOWN]) + "\n"


SAME = f"""## What is kept for what is saved

Beside cycle ends, from the first, second or third on, stands the mean of the ordinary rules that
save as much, within {100 * NEAR:g} points. Differences are of kept and regret, in points, with 95 %
t-intervals over seeds.
"""

SAME_HEADERS = (
    *("search", "cycle ends", "saved", "kept", "ordinary", "difference"),
    *("regret", "ordinary", "difference"),
)

CHOSEN = """![What each rule keeps, by what it saves]({picture})

A dot is the ordinary rule with one r, coloured by the place of its first comparison, in cycles; the
crosses are cycle ends, from the first, second or third on.

## Without a thought of cycles

Who chooses r without a thought of cycles may get any r: here those from half a cycle to one and a
half. Where all cycles are equally long, one of them is the end of the first cycle.
"""

SHOWN = """## What this shows

- **Schedules of several kinds, or cycles that grow:** after the same number of iterations one run
  is at its peak, the next one at the end of a cycle. Compared there, good runs are stopped for
  where they are; compared at cycle ends, the best is kept much more often for the same saving.
- **One policy with equal cycles:** all runs are at the same point of their cycle anyway. Whether
  they are compared at its end makes no difference that could be told apart, as long as it is not
  near the peak: who begins to compare half a cycle in keeps the best least often.
- **Cycles of different lengths:** cycle ends lose less on average, but over ten seeds this is not
  told apart from chance. They save less, too, since runs with long cycles are compared late.
- **The first cycle says little.** To compare from the second one on (`grace` 2) keeps the best more
  often wherever it was lost, for a sixth of the iterations more.

Small networks on small images, and searches of some 50 runs: longer trainings may differ.
"""

CHOSEN_HEADERS = ("search", "rule", "kept", "regret", "saved")


def _same(found: Replayed) -> list[list[str]]:
    lines = []
    for n, ends in found.ends.items():
        near = [o for o in found.ordinary.values() if abs(o.saved - ends.saved) <= NEAR]
        line = [found.name, f"{n}, {ETA * n}, ...", f"{ends.saved:.0%}"]
        if not near:
            lines.append([*line, f"{ends.kept:.0%}", "", "", f"{ends.regret:.1%}", "", ""])
            continue
        other = _mean(near)
        kept, regret = _differences(ends, other)
        lines.append(
            [
                *line,
                *(f"{ends.kept:.0%}", f"{other.kept:.0%}", kept),
                *(f"{ends.regret:.1%}", f"{other.regret:.1%}", regret),
            ]
        )
    return lines


def _chosen(found: Replayed) -> list[list[str]]:
    ordinary = {r: each for r, each in found.ordinary.items() if r <= MOST}
    worst = min(ordinary, key=lambda r: ordinary[r].kept)
    best = max(ordinary, key=lambda r: ordinary[r].kept)
    rules = {
        "cycle ends": found.ends[1],
        "ordinary, mean of all r": _mean(list(ordinary.values())),
        f"ordinary, the worst: {worst:.2f} cycles": ordinary[worst],
        f"ordinary, the best: {best:.2f} cycles": ordinary[best],
    }
    return [
        [found.name, name, f"{each.kept:.0%}", f"{each.regret:.1%}", f"{each.saved:.0%}"]
        for name, each in rules.items()
    ]


def _mean(several: Sequence[Outcome]) -> Outcome:
    seeds = np.mean([each.seeds for each in several], axis=0)
    kept, regret = seeds.mean(axis=0)
    saved = float(np.mean([each.saved for each in several]))
    return Outcome(float(kept), float(regret), saved, tuple((a, b) for a, b in seeds.tolist()))


def _differences(ends: Outcome, other: Outcome) -> list[str]:
    """Of kept and of regret."""
    d = 100 * (np.array(ends.seeds) - np.array(other.seeds))
    if len(d) < 2:  # noqa: PLR2004 - one has no spread
        return [f"{each:+.1f}" for each in d.mean(axis=0)]
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(axis=0, ddof=1) / np.sqrt(len(d))
    return [f"{mean:+.1f} ± {each:.1f}" for mean, each in zip(d.mean(axis=0), half, strict=True)]


def picture(found: Sequence[Replayed], path: Path) -> None:
    """A panel a search: the share of searches that keep the best, over what is saved."""
    mpl.rcParams.update({"svg.hashsalt": "stepsize", "font.size": 8})
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.1 * columns, 2.5 * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    for axis, each in zip(axes.flat, found, strict=False):
        dots = axis.scatter(
            [100 * outcome.saved for outcome in each.ordinary.values()],
            [100 * outcome.kept for outcome in each.ordinary.values()],
            c=list(each.ordinary),
            cmap="viridis",
            vmin=0.5,
            vmax=5,
            s=18,
        )
        axis.plot(
            [100 * outcome.saved for outcome in each.ends.values()],
            [100 * outcome.kept for outcome in each.ends.values()],
            "x-",
            color="C3",
            linewidth=0.7,
        )
        axis.set_title(each.name)
        axis.set_xlabel("iterations saved, %")
    for axis in axes[:, 0]:
        axis.set_ylabel("best configuration kept, %")
    figure.colorbar(dots, ax=axes, label="first comparison after so many cycles", shrink=0.6)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
