"""REPLAY rows of a simulated world with the world's own exact probabilities in place of a model's: what a forecast could reach with perfect scores.

Nothing is trained, so many dates and worlds take seconds. Belongs here: these rows. Does not belong here: judging (`forecast`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.lake.tables import TableRef, read_table

TRUE = ("win_probability", "win_probability_30d", "win_probability_90d", "expected_amount")
STATE = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")
AMOUNT_BELOW, AMOUNT_ABOVE = 0.85, 1.1
"""The interval of the signed amount over its mean: about that of the discount drawn at signing."""


def exact_replay(folder: Path, tables: Mapping[str, TableRef], first: datetime) -> pa.Table:
    """Rows of every landmark of the world's truth from `first` on, but the last: nothing has come after it."""
    truth = read_table(folder / "truth" / "landmarks.parquet").to_pandas()
    truth = truth[(truth["as_of"] >= first) & (truth["as_of"] < truth["as_of"].max())]
    truth = truth[["opportunity_id", "as_of", *TRUE]].astype({"as_of": "datetime64[us, UTC]"})
    changes = read_table(tables["opportunity_changes"]).to_pandas()
    changes["changed_at"] = changes["changed_at"].astype("datetime64[us, UTC]")
    changes = changes.sort_values(["changed_at", "sequence"])[["opportunity_id", "changed_at", *STATE]]
    ends = read_table(tables["opportunities"]).to_pandas().set_index("opportunity_id")
    rows = pd.merge_asof(
        truth[truth["opportunity_id"].isin(ends.index)].sort_values(["as_of", "opportunity_id"]),
        changes,
        left_on="as_of",
        right_on="changed_at",
        by="opportunity_id",
        allow_exact_matches=False,
    )
    end = ends.loc[rows["opportunity_id"]]
    team = {row["owner_id"]: row["team"] for row in read_table(tables["owners"]).to_pylist()}
    columns: dict[str, Any] = {name: rows[name].tolist() for name in ("opportunity_id", "as_of", *STATE, *TRUE)}
    columns |= {
        "kind": ["opportunity"] * len(rows),
        "currency": end["currency"].tolist(),
        "owner_team": [team.get(owner) for owner in rows["owner_id"]],
        "is_won": [None if state == "open" else state == "won" for state in end["state"]],
        "closed_at": end["closed_at"].tolist(),
        "won_amount": [
            amount if state == "won" else None for amount, state in zip(end["amount"], end["state"], strict=True)
        ],
        "expected_amount_low": (AMOUNT_BELOW * rows["expected_amount"]).tolist(),
        "expected_amount_high": (AMOUNT_ABOVE * rows["expected_amount"]).tolist(),
        "weight": [1.0] * len(rows),
        "model_version": ["exact"] * len(rows),
        "evidence_level": ["full_model"] * len(rows),
    }
    missing = [None] * len(rows)
    schema = arrow_schema(REPLAY)
    return pa.table(
        {field.name: pa.array(columns.get(field.name, missing), field.type, from_pandas=True) for field in schema}
    )
