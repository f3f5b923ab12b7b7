"""Which segment a replay row belongs to: stage, owner team, lead source, amount band, month, evidence level.

Belongs here: naming segments, one text per row. Does not belong here: figures of a segment (`proof`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.models.matrix import Floats, codes

Texts = npt.NDArray[Any]

SEGMENTS = ("stage", "owner_team", "lead_source", "amount_band", "month", "evidence_level")
"""The kinds of segment a proof is broken down by."""
NONE = "none recorded"
OTHER = "all others"
NO_AMOUNT = "no amount"
BANDS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
MOST_SEGMENTS = 12
"""Segments of a kind that are shown; the smaller ones are counted together."""


def segments(rows: pa.Table) -> dict[str, Texts]:
    """Per kind of segment one text per REPLAY row. Kinds in which all rows are alike are left out: they say nothing."""
    found = {
        "stage": _named(rows, "stage"),
        "owner_team": _named(rows, "owner_team"),
        "lead_source": _named(rows, "lead_source"),
        "amount_band": amount_bands(rows),
        "month": np.asarray(pc.strftime(rows.column("as_of"), "%Y-%m").to_numpy(zero_copy_only=False), dtype=object),
        "evidence_level": _named(rows, "evidence_level"),
    }
    return {name: texts for name, texts in found.items() if len(pd.unique(texts)) > 1}


def amount_bands(rows: pa.Table) -> Texts:
    """Quarters of the CRM's amount within the record's currency, each opportunity counted once (its first row).

    Amounts of different currencies are never compared. Rows without an amount, or with one of 0 or less, have a band of their own.
    """
    amount = np.asarray(rows.column("amount").cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    currency = codes(rows.column("currency").to_numpy(zero_copy_only=False))
    opportunity = codes(rows.column("opportunity_id").to_numpy(zero_copy_only=False))
    bands = np.full(rows.num_rows, NO_AMOUNT, dtype=object)
    usable = np.isfinite(amount) & (amount > 0)
    for number in range(int(currency.max(initial=-1)) + 1):
        own = np.flatnonzero(usable & (currency == number))
        if not len(own):
            continue
        _, first = np.unique(opportunity[own], return_index=True)
        edges = np.quantile(amount[own[first]], (0.25, 0.5, 0.75))
        bands[own] = np.array(BANDS, dtype=object)[np.searchsorted(edges, amount[own], side="left")]
    return bands


def shown(kind: str, texts: Texts, weight: Floats) -> tuple[Texts, list[str]]:
    """The texts as they are shown, and their order: months and bands in their own, others by the weight of their rows, the largest first.

    Where there are more than `MOST_SEGMENTS`, the smaller ones are taken together as `OTHER`, which comes last; months never are.
    """
    names, number = np.unique(texts.astype(str), return_inverse=True)
    if kind == "month":
        return texts, [str(name) for name in names]
    if kind == "amount_band":
        return texts, [band for band in (*BANDS, NO_AMOUNT) if band in names]
    mass = np.bincount(number, weights=weight, minlength=len(names))
    order = [str(names[index]) for index in sorted(range(len(names)), key=lambda index: (-mass[index], names[index]))]
    if len(order) <= MOST_SEGMENTS:
        return texts, order
    kept = order[: MOST_SEGMENTS - 1]
    return np.array([text if text in set(kept) else OTHER for text in texts], dtype=object), [*kept, OTHER]


def _named(rows: pa.Table, column: str) -> Texts:
    values = rows.column(column).to_numpy(zero_copy_only=False)
    return np.array([value if isinstance(value, str) and value else NONE for value in values], dtype=object)
