"""The report's own charts: values with ranges, bands over time, bridges. Those of the model card are drawn by `card_charts`.

Belongs here: drawings from plain numbers. Does not belong here: which numbers (sections), SVG (`delivery.svg`), colours (`delivery.palette`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sales_pipeline.delivery.palette import BAND, BLUE, GREEN, GREY, INK, ORANGE, SOFT
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


@dataclass(frozen=True)
class Stack:
    """One period: its parts from the bottom up, in the order of the chart's names, the range of their sum, and a target."""

    name: str
    parts: Sequence[float]
    low: Number = None
    high: Number = None
    target: Number = None


def stacks_svg(
    stacks: Sequence[Stack],
    names: Sequence[str],
    target: str,
    tick: Callable[[float], str],
    key: str,
    title: str,
    look: Look,
) -> str:
    """Stacked bars over time with the range of their sum; a dash at the target where there is one."""
    colours = (BLUE, GREEN, GREY)
    hatches = ("", "", "////")

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.14, 0.12, 0.84, 0.70))
        places = range(len(stacks))
        base = [0.0] * len(stacks)
        for number, name in enumerate(names):
            values = [stack.parts[number] for stack in stacks]
            axes.bar(
                places,
                values,
                bottom=base,
                width=0.6,
                color="none" if hatches[number] else colours[number],
                edgecolor=colours[number],
                hatch=hatches[number] or None,
                linewidth=0.8,
                label=text(name),
            )
            base = [low + value for low, value in zip(base, values, strict=True)]
        for place, stack in enumerate(stacks):
            if stack.low is not None and stack.high is not None:
                axes.errorbar(
                    place,
                    (stack.low + stack.high) / 2,
                    yerr=(stack.high - stack.low) / 2,
                    color=INK,
                    capsize=4,
                    elinewidth=1.4,
                    fmt="none",
                )
            if stack.target is not None:
                axes.plot([place - 0.38, place + 0.38], [stack.target] * 2, color=ORANGE, linewidth=2)
        if any(stack.target is not None for stack in stacks):
            axes.plot([], [], color=ORANGE, linewidth=2, label=text(target))
        axes.set_xticks(places, [text(stack.name) for stack in stacks], fontsize=9)
        axes.set_ylim(bottom=min(0.0, *(stack.low or 0.0 for stack in stacks)) if stacks else 0.0)
        _ticks(axes.yaxis, tick, text)
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), fontsize=9, ncols=2)

    return svg(draw, (WIDTH, 3.6), key, title, look)


@dataclass(frozen=True)
class Said:
    """What was said of a period at one date: the expected total, its range, and what was won by then."""

    name: str
    expected: float
    closed: float
    low: Number = None
    high: Number = None


def history_svg(
    rows: Sequence[Said],
    came: Number,
    names: tuple[str, str, str, str],
    tick: Callable[[float], str],
    key: str,
    title: str,
    look: Look,
) -> str:
    """The expected total over the dates it was said at, with its band, what was won by then, and what came. `names`: expected, range, won, came."""

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.14, 0.20, 0.84, 0.64))
        places = list(range(len(rows)))
        banded = [
            (place, row)
            for place, row in zip(places, rows, strict=True)
            if row.low is not None and row.high is not None
        ]
        if banded:
            at = [place for place, _ in banded]
            axes.fill_between(
                at, [row.low for _, row in banded], [row.high for _, row in banded], color=BAND, label=text(names[1])
            )
        axes.plot(
            places,
            [row.expected for row in rows],
            color=BLUE,
            linewidth=2.2,
            marker="o",
            markersize=4,
            label=text(names[0]),
        )
        axes.plot(
            places,
            [row.closed for row in rows],
            color=GREEN,
            linewidth=1.6,
            linestyle="--",
            marker="s",
            markersize=4,
            label=text(names[2]),
        )
        if came is not None:
            axes.axhline(came, color=ORANGE, linewidth=1.6, linestyle=":", label=text(names[3]))
        step = max(1, -(-len(rows) // 8))
        axes.set_xticks(
            places[::step],
            [text(row.name) for row in rows[::step]],
            rotation=30,
            ha="right",
            rotation_mode="anchor",
            fontsize=9,
        )
        axes.set_xlim(-0.3, max(len(rows) - 0.7, 0.3))
        axes.set_ylim(bottom=0)
        _ticks(axes.yaxis, tick, text)
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), fontsize=9, ncols=2)

    return svg(draw, (WIDTH, 3.6), key, title, look)


def bridge_svg(bars: Sequence[Bar], tick: Callable[[float], str], key: str, title: str, look: Look) -> str:
    """From the first bar to the last by steps: the ones between begin where the one before ended. Labels stand at the end."""
    height = 0.34 * len(bars) + 0.62

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.26, 0.46 / height, 0.70, 1 - 0.52 / height))
        level, ends = 0.0, []
        for row, bar in enumerate(bars):
            is_total = row in (0, len(bars) - 1)
            start = 0.0 if is_total else level
            level = bar.value if is_total else level + bar.value
            colour = BLUE if is_total else GREEN if bar.value >= 0 else ORANGE
            axes.barh(row, level - start, left=start, height=0.6, color=colour)
            ends += [start, level]
            axes.annotate(
                text(bar.label),
                (max(start, level), row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
            if row < len(bars) - 1:
                axes.plot([level, level], [row, row + 1], color=SOFT, linewidth=0.8)
        low, high = min(0.0, *ends), max(*ends, 1e-9)
        middle = ends[2:-2]
        # Steps are small beside the totals: the axis begins below the lowest of them, and says so by its ticks.
        left = max(low, min(middle) - 0.6 * (high - min(middle))) if middle and low >= 0 else low
        axes.set_xlim(left, high + 0.22 * (high - left))
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_yticks(range(len(bars)), [text(bar.name) for bar in bars], fontsize=9)
        axes.tick_params(axis="y", length=0)
        _ticks(axes.xaxis, tick, text)
        axes.grid(axis="x")

    return svg(draw, (WIDTH, height), key, title, look)
