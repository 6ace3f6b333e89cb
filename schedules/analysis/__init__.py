"""What the losses of a learning-rate range test say about the rates to train with.

It looks for the *stability edge*, the rate past which the loss comes back up, and stays a factor
below it; see `curve.py` for how the repeats become one curve, and
`landmarks.py` for the places on it.

>>> import numpy as np
>>> lr = np.geomspace(1e-5, 10, 301)
>>> loss = 0.3 + 2 / (1 + (lr / 0.01) ** 2) + (lr / 2) ** 4  # falls at .01, back up at 1.7
>>> found = analyse(lr, [loss], family="sgd")
>>> found.status.value, found.interval
('ok', None)
>>> round(found.landmarks.lr_start, 4), round(found.landmarks.lr_edge, 2)
(0.0023, 1.74)
>>> {name: round(rate, 2) for name, rate in found.result()["suggestion"].items()}
{'base_lr': 0.22, 'max_lr': 0.87, 'fixed_lr': 0.43}
"""

from schedules.analysis.divergence import divergence
from schedules.analysis.reading import Analysis, Family, Status, Suggestion, analyse

__all__ = ["Analysis", "Family", "Status", "Suggestion", "analyse", "divergence"]
