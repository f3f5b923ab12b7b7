"""Pictures of a candidate's out-of-time probabilities, as PNG bytes.

Belongs here: drawing. Does not belong here: figures (`metrics`).
"""

from __future__ import annotations

import io

import numpy as np

from sales_pipeline.models.matrix import Floats
from sales_pipeline.models.metrics import calibration_table


def win_curves(won: Floats, p: Floats, *, title: str) -> bytes:
    """ROC, precision and recall, and calibration side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(won[order])
    misses = np.cumsum(1 - won[order])
    figure = Figure(figsize=(9, 3), dpi=70, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    roc, precision, calibration = figure.subplots(1, 3)
    roc.plot(np.append(0, misses / misses[-1]), np.append(0, hits / hits[-1]))
    roc.plot([0, 1], [0, 1], linestyle=":", color="grey")
    roc.set(title="ROC", xlabel="lost, scored above", ylabel="won, scored above")
    precision.plot(hits / hits[-1], hits / (np.arange(len(p)) + 1))
    precision.set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.05))
    table = calibration_table(won, p)
    calibration.plot([row["predicted"] for row in table], [row["won"] for row in table], marker="o")
    calibration.plot([0, 1], [0, 1], linestyle=":", color="grey")
    calibration.set(title="calibration", xlabel="predicted", ylabel="won")
    figure.suptitle(title)
    buffer = io.BytesIO()
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
