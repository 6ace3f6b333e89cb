"""What the losses of a learning-rate range test say about the rates to train with.

It looks for the *stability edge*, the rate past which the loss comes back up, and stays a factor
below it; see `curve.py` for how the repeats become one curve, and
`landmarks.py` for the places on it.

>>> import numpy as np
>>> lr = np.geomspace(1e-5, 10, 301)
>>> loss = 0.3 + 2 / (1 + (lr / 0.01) ** 2) + (lr / 2) ** 4  # falls at .01, back up at 1.7
>>> found = analyse(lr, [loss], family="sgd", loss="probe")
>>> found.status.value, found.interval
('ok', None)
>>> round(found.landmarks.lr_start, 4), round(found.landmarks.lr_edge, 2)
(0.0023, 1.74)
>>> round(found.suggestion.base_lr, 2), round(found.suggestion.max_lr, 2)
(0.11, 0.43)
"""

from schedules.analysis.accuracy import Accuracy
from schedules.analysis.agreement import Agreement, agreement
from schedules.analysis.divergence import divergence, head_length
from schedules.analysis.lowest import lowest_loss
from schedules.analysis.reading import Analysis, Loss, analyse
from schedules.analysis.status import ADVICE, Status, has_risen
from schedules.analysis.suggestion import DIVISORS, Family, Suggestion

__all__ = [
    "ADVICE",
    "DIVISORS",
    "Accuracy",
    "Agreement",
    "Analysis",
    "Family",
    "Loss",
    "Status",
    "Suggestion",
    "agreement",
    "analyse",
    "divergence",
    "has_risen",
    "head_length",
    "lowest_loss",
]
