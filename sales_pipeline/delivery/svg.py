"""Charts as SVG text: drawn by matplotlib, named and described for those who do not see them, coloured by the page they stand on.

Texts never pass through matplotlib: it measures them with a font that knows no Chinese and reads dollar signs as formulas. A stand-in of the
same width is drawn and replaced in the finished picture. The same figures give the same bytes.

Belongs here: from a drawing to an `<svg>` element. Does not belong here: what is drawn (`card_charts`, `report.charts`), the colours (`palette`).
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from sales_pipeline.delivery.palette import GRID, INK, LIGHT, PAPER, SOFT

POINTS = 96
"""Widest a picture is shown, in CSS pixels per inch of its size."""

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
}
_STAND_IN = re.compile(r"Q(\d{3})Qx*")
_LEAST_WIDTH = 5


@dataclass
class Labels:
    """Texts of one picture: called with a text, gives the stand-in to draw; `words` translates the fixed ones."""

    words: Mapping[str, str] = field(default_factory=dict)
    _texts: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> str:
        """What to draw in place of `text`; nothing for nothing."""
        shown = self.words.get(text, text)
        if not shown:
            return ""
        self._texts.append(shown)
        # Letters of a proportional font are about as wide as an `x`, Chinese ones twice that.
        width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in shown)
        return f"Q{len(self._texts) - 1:03d}Q" + "x" * max(0, width - _LEAST_WIDTH)

    def written(self, svg: str) -> str:
        """The picture with the real texts, escaped."""
        return _STAND_IN.sub(lambda found: escape(self._texts[int(found[1])]), svg)


@dataclass(frozen=True)
class Look:
    """How a picture is put on its page.

    `is_inline`: part of an HTML page, whose style sheet gives the colours (dark too) as variables; else a file of its own on white.
    `words` are translations of the picture's fixed texts, `description` says in a sentence what is to be seen.
    """

    is_inline: bool = False
    words: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


Draw = Callable[[Any, Labels], None]
"""Draws on a matplotlib figure; every text goes through the labels."""


def svg(draw: Draw, size: tuple[float, float], key: str, title: str, look: Look | None = None) -> str:
    """A drawing of `size` inches as an `<svg>` element without prologue; ids begin with `key`, which is unique on its page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    look = look or Look()
    labels = Labels(look.words)
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": key}):
        figure = Figure(figsize=size)
        figure.patch.set_visible(not look.is_inline)
        canvas = FigureCanvasSVG(figure)
        draw(figure, labels)
        buffer = io.StringIO()
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Several pictures stand on one page: ids must differ.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", text)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    if look.is_inline:
        text = _inline(text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    named = f'<title id="{key}-title">{escape(look.words.get(title, title))}</title>'
    by = f"{key}-title"
    if look.description:
        named += f'<desc id="{key}-desc">{escape(look.description)}</desc>'
        by += f" {key}-desc"
    drawn = labels.written(rest).rstrip()
    return f'{head} role="img" aria-labelledby="{by}" style="max-width:{size[0] * POINTS:.0f}px">\n {named}{drawn}\n'


def _inline(text: str) -> str:
    """Colours as variables of the page, nothing a page inside HTML does not need, coordinates to a tenth of a point or better."""
    text = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", text).replace("xlink:href=", "href=")
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)
    return re.sub(r"\n\s*", "\n", text)
