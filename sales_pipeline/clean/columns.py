"""What an unmapped column holds: its type, found over all of its cells, and how its categories are spelled.

Belongs here: figures of whole columns, and what follows from them. Does not belong here: reading cells (sql/), writing tables (`attributes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.engines.base import Engine, Source

COUNTS = ("numbers", "days", "flags", "leading_zeros", "fractions")


@dataclass(frozen=True)
class Column:
    """Figures of the filled cells of one column.

    `counts`: how many can be read in each of the ways of COUNTS; `lengths`: how many are of each length; `levels`: the least and the most
    distinct values they can have, case aside; `texts`: of a category, each text with its folded form and how many cells hold it.
    """

    counts: dict[str, int]
    lengths: dict[int, int]
    levels: tuple[int, int]
    texts: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """Their number."""
        return sum(self.lengths.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"counts": self.counts, "lengths": self.lengths, "levels": self.levels, "texts": self.texts}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Column:
        """The inverse of `to_json`."""
        low, high = data["levels"]
        lengths = {int(length): cells for length, cells in data["lengths"].items()}
        return cls(data["counts"], lengths, (low, high), {t: (k, n) for t, (k, n) in data["texts"].items()})


_EMPTY = Column(dict.fromkeys(COUNTS, 0), {}, (0, 0))


def columns_of(values: Source, engine: Engine) -> dict[str, Column]:
    """Figures by column, without texts; `values` as attribute_values.sql gives them."""
    inputs = {"attribute_values": values}
    lengths: dict[str, dict[int, int]] = {}
    for row in engine.query(SQL / "attribute_lengths.sql", inputs).to_pylist():
        lengths.setdefault(row["attribute"], {})[row["letters"]] = row["cells"]
    return {
        row["attribute"]: Column({c: row[c] for c in COUNTS}, lengths[row["attribute"]], (row["levels"], row["levels"]))
        for row in engine.query(SQL / "attribute_figures.sql", inputs).to_pylist()
    }


def with_texts(columns: Mapping[str, Column], values: Source, kinds: pa.Table, engine: Engine) -> dict[str, Column]:
    """The columns, those that are categories with their texts; `kinds` as `kind_table` gives them."""
    texts: dict[str, dict[str, tuple[str, int]]] = {}
    inputs = {"attribute_values": values, "attribute_kinds": kinds}
    for row in engine.query(SQL / "attribute_texts.sql", inputs).to_pylist():
        texts.setdefault(row["attribute"], {})[row["text_value"]] = (row["text_key"], row["cells"])
    return {n: Column(c.counts, c.lengths, c.levels, texts.get(n, {})) for n, c in columns.items()}


def corrected(base: Mapping[str, Column], gone: Mapping[str, Column], come: Mapping[str, Column]) -> dict[str, Column]:
    """Figures of the cells of `base` without those of `gone`, with those of `come`. Distinct values do not add up: they lie between two numbers then."""
    found: dict[str, Column] = {}
    for name in sorted({*base, *come}):
        one, out, new = (side.get(name, _EMPTY) for side in (base, gone, come))
        counts = {c: one.counts[c] - out.counts[c] + new.counts[c] for c in COUNTS}
        lengths = dict(_sums(one.lengths, out.lengths, new.lengths))
        keys = {text: key for side in (one, out, new) for text, (key, _) in side.texts.items()}
        numbers = ({text: cells for text, (_, cells) in side.texts.items()} for side in (one, out, new))
        texts = {text: (keys[text], cells) for text, cells in _sums(*numbers)}
        levels = (max(one.levels[0] - out.levels[1], new.levels[0]), one.levels[1] + new.levels[1])
        if texts:
            exact = len({key for key, _ in texts.values()})
            levels = (exact, exact)
        if lengths:
            found[name] = Column(counts, lengths, levels, texts)
    return found


def _sums(one: Mapping[Any, int], out: Mapping[Any, int], new: Mapping[Any, int]) -> Iterator[tuple[Any, int]]:
    for key in sorted({*one, *new}):
        if number := one.get(key, 0) - out.get(key, 0) + new.get(key, 0):
            yield key, number


def kind_of(column: Column, params: CleanParams) -> str | None:
    """The type of a column; None where it is not certain, as the number of distinct values is not.

    Whole numbers that hardly repeat are an identifier when all have the same length or leading zeros, else a measure.
    """
    low, high = (_kind(column, levels, params) for levels in column.levels)
    return low if low == high else None


def _kind(column: Column, levels: int, params: CleanParams) -> str:
    counts, cells = column.counts, column.cells
    mean_length = sum(length * number for length, number in column.lengths.items()) / cells
    if counts["flags"] == cells:
        return "boolean"
    if counts["days"] == cells:
        return "date"
    hardly_repeats = (
        levels > Decimal(str(params.identifier_distinct_share)) * cells and cells > params.identifier_min_rows
    )
    is_no_measure = counts["numbers"] < cells or counts["leading_zeros"] > 0 or len(column.lengths) == 1
    if hardly_repeats and counts["fractions"] == 0 and is_no_measure and mean_length <= params.text_min_length:
        return "identifier"
    if counts["numbers"] == cells and counts["leading_zeros"] == 0:
        return "number"
    if mean_length > params.text_min_length or levels > params.text_min_levels:
        return "text"
    return "category"


def kind_table(kinds: Mapping[str, str]) -> pa.Table:
    """Columns attribute, kind."""
    return pa.table(
        {"attribute": pa.array(list(kinds), pa.string()), "kind": pa.array(list(kinds.values()), pa.string())}
    )


def usual_spellings(column: Column) -> dict[str, str]:
    """By text of a category that is written another way: the most frequent spelling of its folded form, of equally frequent ones the smallest."""
    best: dict[str, tuple[int, str]] = {}
    for text, (key, cells) in column.texts.items():
        best[key] = min(best.get(key, (-cells, text)), (-cells, text))
    return {text: best[key][1] for text, (key, _) in column.texts.items() if best[key][1] != text}


def spelling_table(columns: Mapping[str, Column]) -> pa.Table:
    """Columns attribute, found, spelling."""
    rows = [(name, *pair) for name, column in columns.items() for pair in usual_spellings(column).items()]
    return pa.table(
        {
            name: pa.array([row[i] for row in rows], pa.string())
            for i, name in enumerate(("attribute", "found", "spelling"))
        }
    )
