"""The report's own charts: values with ranges, bands over time, bridges. Those of the model card are drawn by `card_charts`.

Belongs here: drawings from plain numbers. Does not belong here: which numbers (sections), SVG (`delivery.svg`), colours (`delivery.palette`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sales_pipeline.delivery.palette import BLUE, GREY, INK, SOFT
from sales_pipeline.delivery.svg import Labels, Look, svg

Number = float | None
WIDTH = 5.4
"""Inches: narrow enough to be read on a telephone."""
TICKS = 4


@dataclass(frozen=True)
class Bar:
    """A named value with its range, where there is one."""

    name: str
    value: float
    low: Number = None
    high: Number = None
    label: str = ""


def bars_svg(bars: Sequence[Bar], tick: Callable[[float], str], key: str, title: str, look: Look) -> str:
    """Horizontal bars from zero, each with its range as a line and its label at the end."""
    height = 0.36 * len(bars) + 0.62

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.30, 0.46 / height, 0.66, 1 - 0.52 / height))
        top = max([bar.high or bar.value for bar in bars] + [bar.value for bar in bars] + [1e-9])
        for row, bar in enumerate(bars):
            axes.barh(row, bar.value, height=0.56, color=BLUE, alpha=0.85)
            if bar.low is not None and bar.high is not None:
                axes.errorbar(
                    bar.value,
                    row,
                    xerr=[[max(bar.value - bar.low, 0)], [max(bar.high - bar.value, 0)]],
                    color=INK,
                    capsize=3,
                    elinewidth=1.4,
                )
            if bar.label:
                end = max(bar.value, bar.high or 0)
                axes.text(end + 0.02 * top, row, text(bar.label), va="center", fontsize=9)
        axes.set_xlim(0, top * (1.22 if any(bar.label for bar in bars) else 1.05))
        axes.set_ylim(len(bars) - 0.45, -0.55)
        axes.set_yticks(range(len(bars)), [text(bar.name) for bar in bars], fontsize=9)
        axes.tick_params(axis="y", length=0)
        _ticks(axes.xaxis, tick, text)
        axes.grid(axis="x")

    return svg(draw, (WIDTH, height), key, title, look)


def dots_svg(
    bars: Sequence[Bar], tick: Callable[[float], str], key: str, title: str, look: Look, *, mark: Number = None
) -> str:
    """Points with their ranges as lines, one row each; a dotted line at `mark`."""
    height = 0.32 * len(bars) + 0.62

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.30, 0.46 / height, 0.66, 1 - 0.52 / height))
        if mark is not None:
            axes.axvline(mark, color=GREY, linewidth=1, linestyle=":")
        for row, bar in enumerate(bars):
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [row, row], color=BLUE, linewidth=1.8)
            axes.plot([bar.value], [row], color=BLUE, marker="o", markersize=5)
        axes.set_ylim(len(bars) - 0.45, -0.55)
        axes.set_yticks(range(len(bars)), [text(bar.name) for bar in bars], fontsize=9)
        axes.tick_params(axis="y", length=0)
        _ticks(axes.xaxis, tick, text)
        axes.grid(axis="x")

    return svg(draw, (WIDTH, height), key, title, look)


def _ticks(axis: Any, tick: Callable[[float], str], text: Labels) -> None:
    """Round steps, few of them, written by the report's own notation."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(tick(value))))
    axis.set_tick_params(labelsize=9, color=SOFT)
