"""The model card's pictures as SVG text: the same card gives the same bytes.

Belongs here: drawing what a card holds. Does not belong here: any figure (models), the page around them (`card_page`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sales_pipeline.models.proof_text import NAMES

# Told apart by people who do not see all colours, and by line style on paper (Okabe & Ito, 2008).
STYLES: dict[str, dict[str, Any]] = {
    "model": {"color": "#0b5394", "linewidth": 2.2, "linestyle": "-", "marker": "o"},
    "challenger": {"color": "#cc79a7", "linewidth": 1.3, "linestyle": "-.", "marker": "^"},
    "base_rate": {"color": "#777777", "linewidth": 1.3, "linestyle": ":", "marker": None},
    "stage_rate": {"color": "#009e73", "linewidth": 1.3, "linestyle": "--", "marker": "s"},
    "crm_probability": {"color": "#d55e00", "linewidth": 1.3, "linestyle": (0, (5, 1, 1, 1)), "marker": "D"},
}
MIN_SHOWN = 20
"""Opportunities a segment needs to be drawn: fewer tell nothing, and their long bars hide the rest."""
_SETTINGS = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.spines.top": False}
_SETTINGS |= {
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.axisbelow": True,
}


def reliability_svg(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], title: str = "Reliability of win probabilities"
) -> str:
    """Share won against predicted probability per bin, with 80 % intervals for the model; below it where the scores lie."""
    shown = {name: tables[name] for name in ("model", "crm_probability") if tables.get(name)}

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.13, 0.13, 0.84, 0.83))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="exactly right")
        for name, table in shown.items():
            style = dict(STYLES[name])
            x, y = [row["predicted"] for row in table], [row["won"] for row in table]
            if name == "model":
                bars = [[row["won"] - row["low"] for row in table], [row["high"] - row["won"] for row in table]]
                axes.errorbar(
                    x, y, yerr=bars, capsize=3, elinewidth=1, markersize=5, label="model, 80 % interval", **style
                )
            else:
                axes.plot(x, y, markersize=4, label=NAMES[name], **style)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted win probability", ylabel="share won")
        axes.grid(color="#e6e6e6", linewidth=0.7)
        axes.legend(loc="upper left", frameon=False)

    return _svg(draw, (5.6, 5.0), "reliability", title)


def dates_svg(dates: Sequence[Mapping[str, Any]], title: str = "Log loss by replay date") -> str:
    """Log loss of the model and of what stands beside it, per replay date; lower is better."""
    judged = [row for row in dates if row.get("log_loss") is not None]

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.08, 0.24, 0.9, 0.66))
        days = [str(row["as_of"])[:10] for row in judged]
        for name in STYLES:
            key = "log_loss" if name == "model" else f"{name}_log_loss"
            values = [row.get(key) for row in judged]
            if any(value is not None for value in values):
                line = [float("nan") if value is None else value for value in values]
                axes.plot(range(len(days)), line, markersize=4, label=NAMES[name], **STYLES[name])
        axes.set_xticks(range(len(days)), days, rotation=45, ha="right", fontsize=8)
        axes.set(ylabel="log loss (lower is better)", xlim=(-0.4, max(len(days) - 0.6, 0.6)))
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9, ncols=5)

    return _svg(draw, (9.6, 3.9), "dates", title)


def segments_svg(rows: Sequence[Mapping[str, Any]], title: str = "Wins seen over wins expected, by segment") -> str:
    """One line per segment: observed over expected with its 80 % interval; clearly wrong ones are red diamonds.

    Segments of fewer than `MIN_SHOWN` opportunities stand in the table alone.
    """
    known = [row for row in rows if row["observed_expected_low"] is not None and row["opportunities"] >= MIN_SHOWN]
    kinds = list(dict.fromkeys(row["segment"] for row in known))
    count = len(known) + len(kinds)
    height = max(1.6, 0.24 * count + 0.7)

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.24, 0.55 / height, 0.73, 1 - 0.65 / height))
        position = 0
        ticks: list[tuple[int, str]] = []
        axes.axvline(1.0, color="#999999", linewidth=1, linestyle=":")
        for kind in kinds:
            axes.text(
                -0.01,
                position,
                kind.replace("_", " "),
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=9,
                fontweight="bold",
            )
            position += 1
            for row in (row for row in known if row["segment"] == kind):
                color = "#c00000" if row["is_off"] else "#0b5394"
                low, high = max(row["observed_expected_low"], 0.2), min(row["observed_expected_high"], 5.0)
                axes.plot([low, high], [position, position], color=color, linewidth=1.4)
                axes.plot(
                    [min(max(row["observed_expected"], 0.2), 5.0)],
                    [position],
                    color=color,
                    marker="D" if row["is_off"] else "o",
                    markersize=5,
                )
                ticks.append((position, _literal(shorten(str(row["value"])))))
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
        axes.set_xlabel("wins seen / wins expected (1: right)")
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.7)

    return _svg(draw, (9.6, height), "segments", title)


def shorten(text: str, most: int = 28) -> str:
    """At most so many characters, the rest as an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _literal(text: str) -> str:
    """Text that matplotlib shall not read as a formula."""
    return text.replace("$", r"\$")


def _svg(draw: Any, size: tuple[float, float], salt: str, title: str) -> str:
    """A figure as an `<svg>` element without prologue, with a title for those who do not see it; no date, ids from the salt."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": salt}):
        figure = Figure(figsize=size)
        canvas = FigureCanvasSVG(figure)
        draw(figure)
        buffer = io.StringIO()
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Several pictures stand on one page: ids must differ.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{salt}-", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return (
        f'{head} role="img" aria-label="{title}" style="max-width:{size[0] * 96:.0f}px">\n <title>{title}</title>{rest}'.rstrip()
        + "\n"
    )
