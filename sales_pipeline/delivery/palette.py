"""The colours of the pages and their charts, for light and dark: told apart by people who do not see all colours, and readable on their ground.

The series follow Okabe and Ito, "Color Universal Design" (2008), darkened for white and lightened for dark paper until they reach the contrast the
Web Content Accessibility Guidelines 2.2 ask for: 4.5 to 1 for text (1.4.3), 3 to 1 for what carries meaning in a picture (1.4.11). A test computes it.

Belongs here: colours by role. Does not belong here: where they are used (templates, charts).
"""

from __future__ import annotations

INK, SOFT, PAPER, WASH, LINE, GRID = "#1b2530", "#55636f", "#ffffff", "#f3f6f8", "#d3dbe2", "#e3e8ec"
BLUE, ORANGE, GREEN, PINK, GREY = "#0b5a9d", "#c24e00", "#00795a", "#b0568a", "#707a83"
BAND, BAD, GOOD, NOTE, MARK = "#c5dcf0", "#b00020", "#1a6b3a", "#fff6e5", "#eef4fa"

LIGHT: dict[str, str] = {
    "ink": INK,
    "soft": SOFT,
    "paper": PAPER,
    "wash": WASH,
    "line": LINE,
    "grid": GRID,
    "blue": BLUE,
    "orange": ORANGE,
    "green": GREEN,
    "pink": PINK,
    "grey": GREY,
    "band": BAND,
    "bad": BAD,
    "good": GOOD,
    "note": NOTE,
    "mark": MARK,
}
"""By role, on white. Charts are drawn in these; an inline one then names the role, so that the page can change the colour."""

DARK: dict[str, str] = {
    "ink": "#e7ecf1",
    "soft": "#a8b4bf",
    "paper": "#11171d",
    "wash": "#1a222a",
    "line": "#35414c",
    "grid": "#28323b",
    "blue": "#6db6f2",
    "orange": "#ff9d5c",
    "green": "#45c99f",
    "pink": "#e3a2c7",
    "grey": "#98a3ad",
    "band": "#24435e",
    "bad": "#ff8f8f",
    "good": "#7fd8a3",
    "note": "#2b2416",
    "mark": "#182838",
}

TEXT_ON: tuple[tuple[str, str], ...] = (
    *(
        (text, ground)
        for text in ("ink", "soft", "blue", "bad", "good")
        for ground in ("paper", "wash", "note", "mark")
    ),
    ("ink", "band"),
)
"""Pairs of text and ground that occur on a page."""
DRAWN_ON: tuple[tuple[str, str], ...] = tuple(
    (line, "paper") for line in ("blue", "orange", "green", "pink", "grey", "soft", "ink", "bad")
)
"""Pairs of a line or shape that carries meaning and its ground."""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (`#rrggbb`), 1 to 21, as WCAG 2.2 defines it."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def css_variables(palette: dict[str, str]) -> str:
    """The palette as CSS custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())
