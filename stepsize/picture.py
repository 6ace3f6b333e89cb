"""A figure that a notebook shows without being told to; imports matplotlib."""

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """Nothing of pyplot is needed, and nothing is kept by it."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, dpi=100, format="png")
        return file.getvalue()
