"""What the report is made from: the run's published tables, those of the run before, the model card, and three small look-ups.

Belongs here: the inputs and how a section asks for them. Does not belong here: reading files (the caller does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.terms import Language


@dataclass(frozen=True)
class ReportInputs:
    """Everything the page depends on; equal inputs give equal bytes.

    Parameters
    ----------
    tables, previous
        Published tables by name, of the run and of the published run before it (empty for the first run). A table may be absent.
    card
        The model card (`models.model_card`).
    teams
        Team by owner id, for owners whose team is known.
    outcomes
        State (open, won, lost) today by opportunity id, of those open in the run before and not scored in this one.
    """

    tables: Mapping[str, pa.Table]
    card: Mapping[str, Any]
    run_id: str
    as_of: AsOf
    source_system: str
    language: Language = "en"
    time_zone: str = "UTC"
    previous: Mapping[str, pa.Table] = field(default_factory=dict)
    previous_as_of: AsOf | None = None
    teams: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> date:
        """The day whose end the run holds for."""
        return self.as_of.day(self.time_zone)

    @property
    def previous_day(self) -> date | None:
        """That of the run before."""
        return self.previous_as_of.day(self.time_zone) if self.previous_as_of else None

    def as_day(self, instant: datetime) -> date:
        """The day whose end an as-of of a table is."""
        return AsOf(instant).day(self.time_zone)

    def frame(self, table: str, columns: Sequence[str] | None = None, *, of_previous: bool = False) -> pd.DataFrame:
        """A table as a frame, amounts as floats; no rows and no columns where the table is absent. Columns the table lacks are NULL."""
        tables = self.previous if of_previous else self.tables
        if table not in tables:
            return pd.DataFrame()
        data = tables[table]
        names = list(columns) if columns is not None else data.column_names
        arrays = {name: _plain(data.column(name)) if name in data.column_names else None for name in names}
        return pd.DataFrame(
            {name: [None] * data.num_rows if values is None else values for name, values in arrays.items()}
        )

    def has(self, table: str) -> bool:
        """Whether the table is there and holds a row."""
        return table in self.tables and self.tables[table].num_rows > 0


def _plain(values: pa.ChunkedArray) -> Any:
    """Numbers as an array; else Python objects, one for each distinct value: most of them repeat."""
    if pa.types.is_decimal(values.type):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type) or (pa.types.is_integer(values.type) and not values.null_count):
        return values.to_numpy(zero_copy_only=False)
    if pa.types.is_nested(values.type):
        return pd.Series(values.to_pylist(), dtype=object)
    coded = values.combine_chunks().dictionary_encode()
    objects = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    place = coded.indices.fill_null(len(objects) - 1).to_numpy(zero_copy_only=False)
    return pd.Series(objects[place], dtype=object)
