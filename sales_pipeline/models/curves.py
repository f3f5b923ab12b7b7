"""Pictures of out-of-time probabilities, as PNG bytes.

Belongs here: drawing. Does not belong here: figures (`metrics`).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from sales_pipeline.models.matrix import Floats
from sales_pipeline.models.metrics import calibration_table


def win_curves(predictions: Mapping[str, tuple[Floats, Floats]]) -> bytes:
    """ROC, precision and recall, gains, and calibration: a line per name of (won, probability), won and lost ones in each.

    Outcomes may lie between 0 and 1 (what is to be expected of a row still open). Gains: the share of all wins among the best-scored share of rows; the
    line's height over the diagonal is the lift.
    """
    canvas = _paper()
    figure = canvas.figure
    roc, precision, gains, calibration = figure.axes
    _wipe(figure)
    for name, (won, p) in predictions.items():
        order = np.argsort(-p, kind="stable")
        hits = np.cumsum(won[order])
        misses = np.cumsum(1 - won[order])
        # Rows of one probability have no order among themselves: a line joins only the ends of such ties.
        ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
        roc.plot(np.append(0, misses[ends] / misses[-1]), np.append(0, hits[ends] / hits[-1]), label=name)
        precision.plot(hits[ends] / hits[-1], hits[ends] / (ends + 1))
        gains.plot(np.append(0, (ends + 1) / len(p)), np.append(0, hits[ends] / hits[-1]))
        table = calibration_table(won, p)
        calibration.plot([row["predicted"] for row in table], [row["won"] for row in table], marker="o", markersize=3)
    for axes in (roc, gains, calibration):
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    roc.set(title="ROC", xlabel="share of lost ones scored above", ylabel="share of won ones scored above")
    precision.set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.05))
    gains.set(title="gains", xlabel="share of rows, best first", ylabel="share of all wins among them")
    calibration.set(title="calibration, 10 bins of equal count", xlabel="predicted", ylabel="won")
    figure.legend(*roc.get_legend_handles_labels(), loc="center right", fontsize=8)
    buffer = io.BytesIO()
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


@functools.cache
def _paper() -> Any:
    """Four axes on a canvas, used again for every picture: their ticks and spines cost more than the lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 8.4), dpi=80)
    figure.subplots_adjust(left=0.07, right=0.8, bottom=0.07, top=0.95, wspace=0.24, hspace=0.28)
    figure.subplots(2, 2)
    return FigureCanvasAgg(figure)


def _wipe(figure: Any) -> None:
    """Take away what the picture before has drawn."""
    figure.legends.clear()
    for axes in figure.axes:
        for line in list(axes.lines):
            line.remove()
        axes.set_prop_cycle(None)
        axes.relim()
