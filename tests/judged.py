"""What a server says of the trials of a sweep: one answer of each kind."""

from typing import Any

COMPARED = {
    "pairs": 3,
    "difference": 0.4712,
    "relative": 0.485,
    "interval": [0.4, 0.5],
    "p_t": 0.002,
    "p_flip": 0.25,
    "p": 0.002,
    "told_apart": True,
}


def ranked_(number: int, mean: float | None, **more: Any) -> dict[str, Any]:
    return {
        "parameters": {"/schedule/max_lr": 0.1 * number, "/optimizer/params/momentum": 0.9},
        "n": 3,
        "diverged": 0,
        "mean": mean,
        "sd": 0.00213,
        "against_best": COMPARED,
        "verdict": "worse than the best",
        "jobs": [f"job_{number}0", f"job_{number}1"],
        **more,
    }


JUDGED: dict[str, Any] = {
    "metric": "val_accuracy",
    "direction": "maximize",
    "trials": 6,
    "left_out": {"short": 0, "stopped": 2, "failed": 1},
}
RANKING: dict[str, Any] = {
    **JUDGED,
    "repeated": ["/seed"],
    "configurations": 5,
    "data": [
        ranked_(2, 0.97119, against_best=None, verdict="better than [all] by 0.47"),
        ranked_(1, 0.5, n=2, diverged=1),
        ranked_(3, None, n=0, diverged=3, sd=None, against_best=None),
    ],
}
IMPORTANCE = {
    **JUDGED,
    "by": "rank",
    "data": [
        {"parameter": "/schedule/max_lr", "share": 0.731, "p": 0.0002, "n": 24},
        {"parameter": "/seed", "share": 0.0, "p": 0.9, "n": 24},
    ],
    "interactions": [
        {"parameters": ["/schedule/max_lr", "/seed"], "share": 0.2, "n": 24},
        {"parameters": ["/seed", "/batch_size"], "share": 0.001, "n": 24},
    ],
    "warnings": ["shares of 6 trials are mostly chance"],
}
BINS = {"value": [None, None], "low": [0.1, 0.2], "high": [0.1, 0.4], "others": [0, 0]}
MARGINAL = {
    "parameter": "/schedule/max_lr",
    "bins": BINS,
    "n": [3, 2],
    "diverged": [0, 1],
    **{name: [0.5, 0.25] for name in ("mean", "best", "lower", "median", "upper")},
}
CHOICES = {
    **MARGINAL,
    "parameter": "/optimizer/name",
    "bins": {
        "value": ["sgd", ["adam"]],
        "low": [None, None],
        "high": [None, None],
        "others": [0, 0],
    },
    "diverged": [0, 0],
}
MARGINALS = {**JUDGED, "data": [MARGINAL, CHOICES]}
PAIR = {
    **JUDGED,
    "x": "/schedule/max_lr",
    "y": "/optimizer/params/momentum",
    "x_bins": BINS,
    "y_bins": {"value": [None], "low": [0.9], "high": [0.9], "others": [0]},
    "n": [[3, 0]],
    "diverged": [[0, 2]],
    "mean": [[0.5, None]],
    "best": [[0.6, None]],
}
SETTING: dict[str, Any] = {
    "parameters": {"/batch_size": 16},
    "status": "ok",
    "stable_lr": 0.24,
    "open_ended": False,
    "lowest": 0.1614,
    "max_lr": 0.06,
    "iterations": 712.0,
    "seconds": 0.151,
    "jobs": ["job_1"],
}
OPEN = {
    **SETTING,
    "parameters": {"/batch_size": 32},
    "open_ended": True,
    "stable_lr": 10.0,
    "status": "no_edge_in_range",
    "seconds": None,
    "jobs": ["job_2"],
}
PICK = {
    "chosen": SETTING,
    "why": "/batch_size = 16 falls lowest",
    "repeated": ["/seed"],
    "settings": [SETTING, OPEN],
    "left_out": {"unfinished": 2},
}
