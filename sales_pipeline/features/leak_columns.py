"""The columns of canonical tables that a ledger judges: features at the last landmark, attributes in their last seen value.

Belongs here: which columns are judged, over which rows, and what is known of their past. Does not belong here: the ledger (`leaks`), the
verdict on one column (`leak_verdicts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlglot import exp

from sales_pipeline.engines.base import Engine
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.feature import Feature
from sales_pipeline.features.kept import CanonicalTables
from sales_pipeline.features.leak_gain import Judged
from sales_pipeline.features.leak_history import (
    VERSIONED_FIELDS,
    Changes,
    Lives,
    Past,
    attribute_changes,
    field_changes,
    lives_of,
    micros,
    past_of,
)
from sales_pipeline.features.leak_statistics import Rows, evenly, levels, period_weights
from sales_pipeline.features.leak_verdicts import ATTRIBUTE_PREFIX, Candidate, Rules, judge
from sales_pipeline.features.leak_words import suspicion
from sales_pipeline.features.params import LeakParams
from sales_pipeline.lake.tables import TableRef, read_matching, read_table

_LINKS = {
    "owner_record": "owner_id",
    "account_record": "account_id",
    "account_facts": "account_id",
    "product": "product_id",
}
_REWRITTEN = ("stage", "amount", "crm_close_date", "crm_probability")
_PLANS = "plans are shown as they stand today: what was done, moved or dropped since is gone, so that the past seems to have had fewer"
_STATUS_FACTS = {
    "account_type": "an account's type is rewritten when it is won and its past values are not known",
    "planned_activity_count": _PLANS,
    "days_to_next_planned_activity": _PLANS,
}


class ColumnRules(Protocol):
    """What the mapping says about columns; names are compared without regard to case."""

    @property
    def never_use(self) -> Sequence[str]:
        """Columns no model may see."""
        ...

    @property
    def use_anyway(self) -> Sequence[str]:
        """Columns a model may see whatever the ledger finds."""
        ...


def judged_columns(
    canonical: CanonicalTables, training: FeatureSet, mapping: ColumnRules, engine: Engine, params: LeakParams
) -> list[Judged]:
    """Every feature that is there and every attribute, judged."""
    outcomes = _outcomes(canonical, training)
    outcomes = outcomes.iloc[evenly(len(outcomes), params.max_rows)]
    lives = lives_of(outcomes, training.spine)
    rules = Rules(mapping.never_use, mapping.use_anyway)
    return [
        *_features(canonical, training, outcomes, lives, rules, params),
        *_attributes(canonical, outcomes, lives, rules, engine, params),
    ]


def _outcomes(canonical: CanonicalTables, training: FeatureSet) -> pd.DataFrame:
    """Outcomes of the kind (opportunity or lead) that has the most of them: two kinds have different columns and different shares
    open, so that together every column of either would seem to tell open from closed. `is_won` is 1, 0 or NaN (open)."""
    table = read_table(training.outcomes, ["opportunity_id", "account_id", "is_won", "created_at", "closed_at"])
    outcomes = table.select(["opportunity_id", "account_id", "is_won"]).to_pandas()
    outcomes["is_won"] = outcomes["is_won"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    outcomes["created_us"] = micros(table.column("created_at"))
    outcomes["closed_us"] = micros(table.column("closed_at"))
    kinds = read_table(canonical.tables["opportunities"], ["opportunity_id", "kind"]).to_pandas()
    outcomes = outcomes.merge(kinds, on="opportunity_id", how="inner")
    known = outcomes.loc[outcomes["is_won"].notna(), "kind"].value_counts()
    chosen = max(sorted(known.index), key=lambda kind: known[kind]) if len(known) else "opportunity"
    judged: pd.DataFrame = outcomes[outcomes["kind"] == chosen].drop(columns="kind")
    return judged


def _rows(outcomes: pd.DataFrame, params: LeakParams) -> Rows:
    """The rows to look at, folds by account; `outcomes` in their order."""
    groups = outcomes["account_id"].fillna(outcomes["opportunity_id"])
    target = outcomes["is_won"].to_numpy(dtype=np.float64)
    fold = pd.util.hash_array(groups.to_numpy(dtype=object), categorize=True) % params.folds
    weight = period_weights(outcomes["created_us"].to_numpy(dtype=np.float64), np.isnan(target))
    return Rows(target, np.isnan(target), fold.astype(np.int64), True, weight)


def _feature_suspicion(feature: Feature) -> str | None:
    if feature.state_field in _REWRITTEN:
        return f"{feature.state_field} is rewritten at the close and its past values are not known"
    return _STATUS_FACTS.get(feature.name)


def _features(
    canonical: CanonicalTables,
    training: FeatureSet,
    outcomes: pd.DataFrame,
    lives: Lives,
    rules: Rules,
    params: LeakParams,
) -> Iterator[Judged]:
    """Catalogue features: judged where they rest on last seen values, used where their past is known."""
    present = [feature for feature in FEATURES if feature.name in training.usable]
    looked_at = pa.array(outcomes["opportunity_id"], pa.string())
    names = ["opportunity_id", "as_of", *(feature.name for feature in present)]
    frame = read_matching(training.features, names, "opportunity_id", looked_at).to_pandas()
    names = ["opportunity_id", "as_of", "owner_id", "account_id", "product_id"]
    links = read_matching(training.spine, names, "opportunity_id", looked_at).to_pandas()
    frame = frame.merge(links, on=["opportunity_id", "as_of"], how="inner")
    frame = frame.sort_values(["opportunity_id", "as_of"]).groupby("opportunity_id", sort=True).tail(1)
    frame = frame.merge(outcomes.drop(columns="account_id"), on="opportunity_id", how="inner")
    rows = _rows(frame, params)
    pasts = _past_of_fields(canonical.tables["opportunity_changes"], training, lives, params)
    for feature in present:
        values = frame[feature.name]
        if feature.type != "category":
            values = pd.to_numeric(values.astype("Float64"))
        if feature.is_dated and feature.family in _LINKS:
            # What may be written late is the link alone; a record that has no value yet (no win so far) is a value of its own.
            values = values.fillna(-1.0).where(frame[_LINKS[feature.family]].notna())
        is_versioned = feature.state_field in training.versioned or feature.state_field is None
        is_past_known = is_versioned and not feature.is_last_seen
        candidate = Candidate(
            feature.name,
            None if is_past_known else _feature_suspicion(feature),
            may_drift=feature.is_dated,
            past=pasts.get(feature.state_field or ""),
            is_last_seen=not is_past_known,
        )
        if is_past_known and rules.verdict(feature.name) is None:
            row = _trusted(candidate, values, rows, params)
        else:
            row = judge(candidate, values, rows, rules, params)
        yield Judged(row, levels(values), rows, pd.Index(frame["opportunity_id"]))


def _past_of_fields(changes: TableRef, training: FeatureSet, lives: Lives, params: LeakParams) -> dict[str, Past]:
    """What is known of the fields the CRM versions; their changes are known from creation on."""
    fields = tuple(field for field in VERSIONED_FIELDS if field in training.versioned)
    nothing = np.zeros(len(lives.ids), dtype=np.bool_)
    return {
        field: past_of(found, lives, nothing, -np.inf, params) for field, found in field_changes(changes, lives, fields)
    }


def _trusted(candidate: Candidate, values: pd.Series, rows: Rows, params: LeakParams) -> dict[str, Any]:
    """A feature whose past is known: used, with its figures; a constant is said to be one."""
    judged = judge(candidate, values, rows, Rules((), ()), params)
    if judged["verdict"] == "constant":
        return judged
    reason = "built from what was dated strictly before the as-of"
    return judged | {
        "verdict": "use",
        "is_used": True,
        "basis": "none",
        "reason": reason,
        "figure": judged["auc_alone"],
    }


def _attributes(
    canonical: CanonicalTables,
    outcomes: pd.DataFrame,
    lives: Lives,
    rules: Rules,
    engine: Engine,
    params: LeakParams,
) -> Iterator[Judged]:
    """Every attribute, in its last seen value, over all opportunities known before the training as-of."""
    attributes = canonical.tables["opportunity_attributes"]
    if not attributes.rows:
        return
    rows = _rows(outcomes, params)
    changes = attribute_changes(canonical.tables["attribute_changes"], lives)
    names = engine.query(
        exp.select(
            "attribute",
            exp.alias_(exp.Max(this=exp.column("kind")), "kind"),
            exp.alias_(exp.Min(this=exp.column("tracked_from")), "tracked_from"),
        )
        .from_("opportunity_attributes")
        .group_by("attribute")
        .order_by("attribute"),
        {"opportunity_attributes": attributes},
    )
    tracked = micros(names.column("tracked_from"))
    nothing = Changes(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
    for attribute, kind, since in zip(
        names.column("attribute").to_pylist(), names.column("kind").to_pylist(), tracked, strict=True
    ):
        one = (
            exp.select("opportunity_id", "text_value", "number_value")
            .from_("opportunity_attributes")
            .where(exp.column("attribute").eq(exp.Literal.string(attribute)))
        )
        data = engine.query(one, {"opportunity_attributes": attributes})
        is_number = kind in ("number", "boolean", "date")
        values = _of(lives, data, "number_value" if is_number else "text_value")
        past = None
        if not np.isnan(since):
            has_value = values.notna().to_numpy(dtype=bool)
            past = past_of(changes.get(attribute, nothing), lives, has_value, float(since), params)
        candidate = Candidate(
            ATTRIBUTE_PREFIX + attribute,
            suspicion(attribute),
            kind if kind in ("text", "identifier") else None,
            past=past,
        )
        yield Judged(judge(candidate, values, rows, rules, params), levels(values), rows, lives.ids)


def _of(lives: Lives, data: pa.Table, column: str) -> pd.Series:
    """A column of `data` (one row per opportunity) in the order of the opportunities looked at."""
    position = lives.ids.get_indexer(pd.Index(data.column("opportunity_id").to_pandas()))
    place = np.full(len(lives.ids), -1, dtype=np.int64)
    place[position[position >= 0]] = np.flatnonzero(position >= 0)
    values: pd.Series = data.column(column).take(pa.array(place, mask=place < 0)).to_pandas()
    return values.astype("float64") if column == "number_value" else values
