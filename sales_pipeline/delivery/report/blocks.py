"""What a section is made of. Sections give blocks, the template gives them their looks.

Texts are plain: the template escapes them. Only `Figure.svg` is markup, made by `delivery.svg`, which escapes its labels.

Belongs here: the vocabulary between sections and template. Does not belong here: any wording, any figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from sales_pipeline.delivery.report.formats import NOTHING

Tone = Literal["", "good", "bad", "soft"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table: text, a second line below it in small, and how it is meant. A `lang` is set where it is not the page's language."""

    text: str
    note: str = ""
    tone: Tone = ""
    lang: str = ""
    note_lang: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; text stands left and may break (`wide`), numbers right."""

    heading: str
    kind: Literal["number", "text", "wide"] = "number"


@dataclass(frozen=True)
class DataTable:
    """A table; the first cell of a row is its heading. `file` names the CSV that holds all rows, `more` says how many are only there."""

    block: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | str]]
    file: str = ""
    more: str = ""

    def trimmed(self) -> DataTable:
        """Without columns of which no row knows anything: a section says in words why they are not there."""
        known = [
            number
            for number in range(len(self.columns))
            if number == 0 or any(_says_something(row[number]) for row in self.rows)
        ]
        return replace(
            self,
            columns=[self.columns[number] for number in known],
            rows=[[row[number] for number in known] for row in self.rows],
        )


def _says_something(cell: Cell | str) -> bool:
    return (cell.text if isinstance(cell, Cell) else cell) not in ("", NOTHING)


@dataclass(frozen=True)
class Figure:
    """A chart with its caption and the table of what it shows."""

    block: ClassVar[str] = "figure"
    svg: str
    caption: str
    data: DataTable


@dataclass(frozen=True)
class Pair:
    """Two or more blocks beside each other where there is room."""

    block: ClassVar[str] = "pair"
    parts: Sequence[Block]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    block: ClassVar[str] = "text"
    text: str
    tone: Tone = ""
    lang: str = ""


@dataclass(frozen=True)
class Points:
    """A list of sentences, under a heading where one is given."""

    block: ClassVar[str] = "points"
    points: Sequence[Cell]
    heading: str = ""


@dataclass(frozen=True)
class Missing:
    """What is not here and why: stands in the place of a table or chart that would be empty."""

    block: ClassVar[str] = "missing"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    block: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Tile:
    """A figure to remember: its name, its value, what stands beside it, and the section that tells more."""

    name: str
    value: str
    note: str = ""
    section: str = ""


@dataclass(frozen=True)
class Tiles:
    """Figures beside each other."""

    block: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Task:
    """One follow-up: what to do, about what, why, on which evidence, and the figures beside it; `lang` is that of reason and evidence."""

    action: str
    subject: str
    reason: str
    evidence: str
    figures: str
    priority: str
    is_urgent: bool = False
    lang: str = ""


@dataclass(frozen=True)
class Tasks:
    """The first follow-ups of one owner, folded but for the first owners; `id` is an anchor."""

    block: ClassVar[str] = "tasks"
    id: str
    heading: str
    note: str
    tasks: Sequence[Task]
    is_open: bool = False


Block = DataTable | Figure | Pair | Text | Points | Missing | Heading | Tiles | Tasks


@dataclass(frozen=True)
class Section:
    """A part of the page: `id` is its anchor, `lead` says in one sentence what it is for."""

    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)
