"""Pictures of out-of-time probabilities, as PNG bytes.

Belongs here: drawing. Does not belong here: figures (`metrics`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from sales_pipeline.models.matrix import Floats
from sales_pipeline.models.metrics import calibration_table


def win_curves(predictions: Mapping[str, tuple[Floats, Floats]]) -> bytes:
    """ROC, precision and recall, and calibration side by side: a line per name of (won, probability), both classes in each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), dpi=80)
    canvas = FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.05, right=0.84, bottom=0.14, top=0.9, wspace=0.25)
    roc, precision, calibration = figure.subplots(1, 3)
    for name, (won, p) in predictions.items():
        order = np.argsort(-p, kind="stable")
        hits = np.cumsum(won[order])
        misses = np.cumsum(1 - won[order])
        roc.plot(np.append(0, misses / misses[-1]), np.append(0, hits / hits[-1]), label=name)
        precision.plot(hits / hits[-1], hits / (np.arange(len(p)) + 1))
        table = calibration_table(won, p)
        calibration.plot([row["predicted"] for row in table], [row["won"] for row in table], marker="o", markersize=3)
    for axes in (roc, calibration):
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    roc.set(title="ROC", xlabel="share of lost ones scored above", ylabel="share of won ones scored above")
    precision.set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.05))
    calibration.set(title="calibration", xlabel="predicted", ylabel="won")
    figure.legend(*roc.get_legend_handles_labels(), loc="center right", fontsize=8)
    buffer = io.BytesIO()
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
