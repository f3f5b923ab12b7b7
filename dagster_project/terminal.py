"""How the command line speaks: data on standard output, everything else on standard error; plain tables; days read from text.

Belongs here: text in and out. Does not belong here: commands (`cli`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import typer

from sales_pipeline.errors import ConfigurationError


def say(text: str = "") -> None:
    """One line for people, on standard error."""
    typer.echo(text, err=True)


def put(text: str) -> None:
    """One line of data, on standard output."""
    typer.echo(text)


def parse_day(text: str | None, option: str) -> date | None:
    """A calendar day given on the command line."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} is not a day", expected="YYYY-MM-DD", found=text) from error


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A plain table of text: columns aligned, nothing cut."""
    cells = [[to_text(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[number]) for line in cells)]) for number, column in enumerate(columns)]
    put("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip())
    for line in cells:
        put("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def shortened(text: str | None, most: int = 60) -> str | None:
    """At most `most` characters, the rest as an ellipsis."""
    return text if text is None or len(text) <= most else f"{text[: most - 1]}…"


def to_text(value: Any) -> str:
    """One value as text; empty for NULL."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%MZ")
    return str(value)
