"""What a range test says: from where to where a network trains, and which bounds to use.

The suggestion comes from the *stability edge*, the learning rate from which on the loss no longer
falls but returns, rather than from the steepest slope: the edge depends neither on the scale of
the loss nor on the speed of the ramp, and barely on noise.

>>> import numpy as np
>>> lr = np.geomspace(1e-4, 10, 200)
>>> loss = 2.3 - 2 / (1 + (0.01 / lr) ** 2) + (lr / 1.0) ** 4
>>> found = analyse(lr, [loss], family="sgd")
>>> found.status, round(found.landmarks["lr_min"], 2), round(found.suggestion["max_lr"], 2)
('ok', 0.21, 0.35)
"""

from schedules.analysis.divergence import divergence
from schedules.analysis.reading import Analysis, Family, Status, analyse

__all__ = ["Analysis", "Family", "Status", "analyse", "divergence"]
