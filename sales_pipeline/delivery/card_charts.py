"""The model card's pictures as SVG text: the same card gives the same bytes.

Belongs here: drawing what a card holds. Does not belong here: any figure (models), the page around them (`card_page`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sales_pipeline.delivery.palette import BAD, BLUE, GREEN, GREY, ORANGE, PINK
from sales_pipeline.delivery.svg import Labels, Look, svg
from sales_pipeline.models.proof_text import NAMES

# Told apart by people who do not see all colours, and by line style on paper.
STYLES: dict[str, dict[str, Any]] = {
    "model": {"color": BLUE, "linewidth": 2.2, "linestyle": "-", "marker": "o"},
    "challenger": {"color": PINK, "linewidth": 1.3, "linestyle": "-.", "marker": "^"},
    "base_rate": {"color": GREY, "linewidth": 1.3, "linestyle": ":", "marker": None},
    "stage_rate": {"color": GREEN, "linewidth": 1.3, "linestyle": "--", "marker": "s"},
    "crm_probability": {"color": ORANGE, "linewidth": 1.3, "linestyle": (0, (5, 1, 1, 1)), "marker": "D"},
}
MIN_SHOWN = 20
"""Opportunities a segment needs to be drawn: fewer tell nothing, and their long bars hide the rest."""


def reliability_svg(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str = "Reliability of win probabilities",
    look: Look | None = None,
) -> str:
    """Share won against predicted probability per bin, with 80 % intervals for the model where the table gives them."""
    shown = {name: tables[name] for name in ("model", "crm_probability") if tables.get(name)}

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.13, 0.13, 0.84, 0.83))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label=text("exactly right"))
        for name, table in shown.items():
            style = dict(STYLES[name])
            x, y = [row["predicted"] for row in table], [row["won"] for row in table]
            if name == "model" and all(row.get("low") is not None for row in table):
                bars = [[row["won"] - row["low"] for row in table], [row["high"] - row["won"] for row in table]]
                axes.errorbar(
                    x, y, yerr=bars, capsize=3, elinewidth=1, markersize=5, label=text("model, 80 % interval"), **style
                )
            else:
                axes.plot(x, y, markersize=4, label=text(NAMES[name]), **style)
        axes.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=text("predicted win probability"), ylabel=text("share won")
        )
        axes.grid()
        axes.legend(loc="upper left")

    return svg(draw, (5.6, 5.0), "reliability", title, look)


def dates_svg(
    dates: Sequence[Mapping[str, Any]], title: str = "Log loss by replay date", look: Look | None = None
) -> str:
    """Log loss of the model and of what stands beside it, per replay date; lower is better."""
    judged = [row for row in dates if row.get("log_loss") is not None]
    # Beside other blocks of a page there is half the room, and more names than fit on a line.
    is_narrow = look is not None and look.is_inline

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.13, 0.17, 0.85, 0.66) if is_narrow else (0.08, 0.24, 0.9, 0.66))
        days = [str(row["as_of"])[:10] for row in judged]
        for name in STYLES:
            key = "log_loss" if name == "model" else f"{name}_log_loss"
            values = [row.get(key) for row in judged]
            if any(value is not None for value in values):
                line = [float("nan") if value is None else value for value in values]
                axes.plot(range(len(days)), line, markersize=4, label=text(NAMES[name]), **STYLES[name])
        axes.set_xticks(range(len(days)), days, rotation=45, ha="right", fontsize=8)
        axes.set(ylabel=text("log loss (lower is better)"), xlim=(-0.4, max(len(days) - 0.6, 0.6)))
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, ncols=2 if is_narrow else 5)

    return svg(draw, (5.6, 4.6) if is_narrow else (9.6, 3.9), "dates", title, look)


def segments_svg(
    rows: Sequence[Mapping[str, Any]],
    title: str = "Wins seen over wins expected, by segment",
    look: Look | None = None,
) -> str:
    """One line per segment: observed over expected with its 80 % interval; clearly wrong ones are red diamonds.

    Segments of fewer than `MIN_SHOWN` opportunities stand in the table alone.
    """
    known = [row for row in rows if row["observed_expected_low"] is not None and row["opportunities"] >= MIN_SHOWN]
    kinds = list(dict.fromkeys(row["segment"] for row in known))
    count = len(known) + len(kinds)
    height = max(1.6, 0.24 * count + 0.7)

    def draw(figure: Any, text: Labels) -> None:
        axes = figure.add_axes((0.24, 0.55 / height, 0.73, 1 - 0.65 / height))
        position = 0
        ticks: list[tuple[int, str]] = []
        axes.axvline(1.0, color=GREY, linewidth=1, linestyle=":")
        for kind in kinds:
            axes.text(
                -0.01,
                position,
                text(kind.replace("_", " ")),
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=9,
                fontweight="bold",
            )
            position += 1
            for row in (row for row in known if row["segment"] == kind):
                color = BAD if row["is_off"] else BLUE
                low, high = max(row["observed_expected_low"], 0.2), min(row["observed_expected_high"], 5.0)
                axes.plot([low, high], [position, position], color=color, linewidth=1.4)
                axes.plot(
                    [min(max(row["observed_expected"], 0.2), 5.0)],
                    [position],
                    color=color,
                    marker="D" if row["is_off"] else "o",
                    markersize=5,
                )
                ticks.append((position, text(shorten(str(row["value"])))))
                position += 1
        ends = [row["observed_expected_low"] for row in known] + [row["observed_expected_high"] for row in known]
        low, high = max(0.2, min([0.75, *ends])), min(5.0, max([1.33, *ends]))
        axes.set_xscale("log")
        axes.set_xlim(low / 1.04, high * 1.04)
        marks = [
            mark
            for mark in (0.2, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
            if low / 1.04 <= mark <= high * 1.04
        ]
        axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
        axes.set_xticks([], minor=True)
        axes.set_yticks([tick for tick, _ in ticks], [name for _, name in ticks], fontsize=9)
        axes.set_ylim(position - 0.4, -0.6)
        axes.set_xlabel(text("wins seen / wins expected (1: right)"))
        axes.grid(axis="x")

    return svg(draw, (9.6, height), "segments", title, look)


def shorten(text: str, most: int = 28) -> str:
    """At most so many characters, the rest as an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
