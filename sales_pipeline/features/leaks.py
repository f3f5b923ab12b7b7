"""The leak ledger: per candidate column, whether a model may see it, and why.

Judged are all attributes and the catalogue features that rest on values the CRM shows only as last seen; features whose past is known
(versioned fields, dated events) are used. Verdicts, in the order they are looked for:

    never_use / use_anyway   the configuration says so
    leak                     statistics: filled only at close, or too good alone
    constant, identifier     shape: one value; as many values as rows, or free text
    suspect                  semantics: nothing shows that the value was there early (`leak_words`); or statistics: missingness or
                             distribution differ between open and closed

Belongs here: which columns are judged, over which rows. Does not belong here: the verdict on one (`leak_verdicts`), its figures
(`leak_statistics`), words (`leak_words`), choosing among allowed columns (`selector`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import LEAK_LEDGER
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Engine
from sales_pipeline.features.build import CanonicalTables, FeatureSet
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.feature import Feature
from sales_pipeline.features.leak_statistics import Rows, kind_of
from sales_pipeline.features.leak_verdicts import ATTRIBUTE_PREFIX, Candidate, Rules, is_free_text, judge, plain
from sales_pipeline.features.leak_words import suspicion
from sales_pipeline.features.params import LeakParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, conform, read_table, write_table

_LINKS = {
    "owner_record": "owner_id",
    "account_record": "account_id",
    "account_facts": "account_id",
    "product": "product_id",
}
_REWRITTEN = ("stage", "amount", "crm_close_date", "crm_probability")
_STATUS_FACTS = {"account_type": "an account's type is rewritten when it is won and its past values are not known"}


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


@dataclass(frozen=True)
class LedgerEvaluation:
    """A ledger held against columns known to leak; constants and identifiers are no false positives."""

    caught: tuple[str, ...]
    missed: tuple[str, ...]
    false_positives: tuple[str, ...]

    @property
    def recall(self) -> float:
        """Share of the known leaks that are not used; 1 where none are known."""
        known = len(self.caught) + len(self.missed)
        return len(self.caught) / known if known else 1.0


def leak_ledger(
    lake: Lake,
    canonical: CanonicalTables,
    training: FeatureSet,
    mapping: ColumnRules,
    engine: Engine,
    params: LeakParams | None = None,
) -> TableRef:
    """The ledger of a training feature set, as LEAK_LEDGER, with one row per feature that is there and per attribute.

    Features are looked at in the last landmark of each opportunity, attributes in their last seen value; open are the opportunities
    without an outcome before the training as-of. Where there are opportunities and leads, the kind with more outcomes is looked at.
    """
    chosen = params or LeakParams()
    attributes = canonical.tables["opportunity_attributes"]
    key = digest_of(
        "leak_ledger",
        training.key,
        attributes.sha256,
        sorted(mapping.never_use),
        sorted(mapping.use_anyway),
        chosen.model_dump(),
        *(
            Path(__file__).with_name(name).read_text(encoding="utf-8")
            for name in ("leaks.py", "leak_verdicts.py", "leak_words.py", "leak_statistics.py")
        ),
    )

    def make(folder: Path) -> dict[str, Any]:
        outcomes = _outcomes(canonical, training)
        rows = _feature_rows(training, outcomes, mapping, chosen)
        rows += _attribute_rows(outcomes, attributes, mapping, engine, chosen)
        ref = write_table(ledger_table(rows), folder / "leak_ledger.parquet", LEAK_LEDGER)
        return {"rows": ref.rows, "sha256": ref.sha256}

    folder, facts = lake.step("features", key, make)
    return TableRef("leak_ledger", str(folder / "leak_ledger.parquet"), facts["rows"], facts["sha256"])


def ledger_for_frame(
    frame: pd.DataFrame,
    target: pd.Series,
    is_open: pd.Series | None = None,
    *,
    never_use: Sequence[str] = (),
    use_anyway: Sequence[str] = (),
    params: LeakParams | None = None,
) -> pa.Table:
    """The ledger of a flat table: one row per column of `frame` (the target not among them), in LEAK_LEDGER's columns.

    `target` is 0/1 for a class or any number; rows with no target, or marked in `is_open`, are open. Nothing in a flat table
    shows when a value appeared, so every column is held against the semantic rule. Equal rows stand in the same fold.
    """
    chosen = params or LeakParams()
    numbers = target.to_numpy(dtype=np.float64, na_value=np.nan)
    opened = np.isnan(numbers) if is_open is None else np.isnan(numbers) | is_open.to_numpy(dtype=bool)
    fold = pd.util.hash_pandas_object(frame, index=False).to_numpy() % chosen.folds
    is_binary = set(np.unique(numbers[~np.isnan(numbers)])) <= {0.0, 1.0}
    keep = _thinned(len(frame), chosen)
    rows = Rows(numbers[keep], opened[keep], fold[keep].astype(np.int64), is_binary)
    rules = Rules(never_use, use_anyway)
    found = []
    for name in frame.columns:
        values = frame[name]
        if kind_of(values) == "category" and not isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("string")
        candidate = Candidate(str(name), suspicion(str(name)), "text" if is_free_text(values) else None)
        found.append(judge(candidate, values.iloc[keep], rows, rules, chosen))
    return conform(ledger_table(found), LEAK_LEDGER)


def ledger_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of a ledger as Arrow, in the contract's columns."""
    return pa.Table.from_pylist(list(rows), schema=arrow_schema(LEAK_LEDGER))


def usable_columns(ledger: TableRef | pa.Table) -> tuple[str, ...]:
    """The columns a model may see, in the ledger's order."""
    table = read_table(ledger) if isinstance(ledger, TableRef) else ledger
    return tuple(row["column"] for row in table.select(["column", "is_used"]).to_pylist() if row["is_used"])


def evaluate_ledger(ledger: TableRef | pa.Table, known_leaks: Iterable[str]) -> LedgerEvaluation:
    """Recall of the ledger over columns known to leak, and the columns it sets aside as leak or suspect without cause.

    Names are compared without regard to case and to the `attribute:` prefix; a known leak the ledger does not list counts as caught (a
    model cannot see it).
    """
    table = read_table(ledger) if isinstance(ledger, TableRef) else ledger
    known = {plain(name): name for name in known_leaks}
    verdicts = {plain(row["column"]): row for row in table.to_pylist()}
    missed = tuple(name for plain, name in known.items() if plain in verdicts and verdicts[plain]["is_used"])
    return LedgerEvaluation(
        caught=tuple(name for name in known.values() if name not in missed),
        missed=missed,
        false_positives=tuple(
            row["column"]
            for plain, row in verdicts.items()
            if row["verdict"] in ("leak", "suspect") and not row["is_used"] and plain not in known
        ),
    )


def _thinned(count: int, params: LeakParams) -> npt.NDArray[np.int64]:
    """Positions of at most `max_rows` rows, evenly spread."""
    if count <= params.max_rows:
        return np.arange(count)
    return np.arange(params.max_rows) * count // params.max_rows


def _outcomes(canonical: CanonicalTables, training: FeatureSet) -> pd.DataFrame:
    """Outcomes of the kind (opportunity or lead) that has the most of them: two kinds have different columns and different shares
    open, so that together every column of either would seem to tell open from closed."""
    outcomes = read_table(training.outcomes, ["opportunity_id", "account_id", "is_won"]).to_pandas()
    kinds = read_table(canonical.tables["opportunities"], ["opportunity_id", "kind"]).to_pandas()
    outcomes = outcomes.merge(kinds, on="opportunity_id", how="inner")
    known = outcomes.loc[outcomes["is_won"].notna(), "kind"].value_counts()
    chosen = max(sorted(known.index), key=lambda kind: known[kind]) if len(known) else "opportunity"
    judged: pd.DataFrame = outcomes[outcomes["kind"] == chosen].drop(columns="kind")
    return judged


def _feature_suspicion(feature: Feature) -> str | None:
    if feature.state_field in _REWRITTEN:
        return f"{feature.state_field} is rewritten at the close and its past values are not known"
    return _STATUS_FACTS.get(feature.name)


def _feature_rows(
    training: FeatureSet, outcomes: pd.DataFrame, mapping: ColumnRules, params: LeakParams
) -> list[dict[str, Any]]:
    """Catalogue features: judged where they rest on last seen values, used where their past is known."""
    rules = Rules(mapping.never_use, mapping.use_anyway)
    present = [feature for feature in FEATURES if feature.name in training.usable]
    frame = read_table(
        training.features, ["opportunity_id", "as_of", *(feature.name for feature in present)]
    ).to_pandas()
    links = read_table(training.spine, ["opportunity_id", "as_of", "owner_id", "account_id", "product_id"]).to_pandas()
    frame = frame.merge(links, on=["opportunity_id", "as_of"], how="inner")
    frame = frame.sort_values(["opportunity_id", "as_of"]).groupby("opportunity_id", sort=True).tail(1)
    frame = frame.merge(outcomes.drop(columns="account_id"), on="opportunity_id", how="inner")
    frame = frame.iloc[_thinned(len(frame), params)]
    rows = _rows(frame["is_won"], frame["account_id"].fillna(frame["opportunity_id"]), params)
    found = []
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
            feature.name, None if is_past_known else _feature_suspicion(feature), may_drift=feature.is_dated
        )
        if is_past_known and rules.verdict(feature.name) is None:
            found.append(_trusted(candidate, values, rows, params))
        else:
            found.append(judge(candidate, values, rows, rules, params))
    return found


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


def _rows(is_won: pd.Series, groups: pd.Series, params: LeakParams) -> Rows:
    target = is_won.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    fold = pd.util.hash_array(groups.to_numpy(dtype=object), categorize=True) % params.folds
    return Rows(target.astype(np.float64), np.isnan(target), fold.astype(np.int64), True)


def _attribute_rows(
    outcomes: pd.DataFrame, attributes: TableRef, mapping: ColumnRules, engine: Engine, params: LeakParams
) -> list[dict[str, Any]]:
    """Every attribute, in its last seen value, over all opportunities known before the training as-of."""
    if not attributes.rows:
        return []
    rules = Rules(mapping.never_use, mapping.use_anyway)
    outcomes = outcomes.iloc[_thinned(len(outcomes), params)].set_index("opportunity_id")
    ids = outcomes["account_id"].fillna(outcomes.index.to_series())
    rows = _rows(outcomes["is_won"], ids, params)
    names = engine.query(
        exp.select("attribute", exp.alias_(exp.Max(this=exp.column("kind")), "kind"))
        .from_("opportunity_attributes")
        .group_by("attribute")
        .order_by("attribute"),
        {"opportunity_attributes": attributes},
    ).to_pylist()
    found = []
    for entry in names:
        one = (
            exp.select("opportunity_id", "text_value", "number_value")
            .from_("opportunity_attributes")
            .where(exp.column("attribute").eq(exp.Literal.string(entry["attribute"])))
        )
        data = engine.query(one, {"opportunity_attributes": attributes}).to_pandas().set_index("opportunity_id")
        is_number = entry["kind"] in ("number", "boolean", "date")
        values = data["number_value" if is_number else "text_value"].reindex(outcomes.index)
        candidate = Candidate(
            ATTRIBUTE_PREFIX + entry["attribute"],
            suspicion(entry["attribute"]),
            entry["kind"] if entry["kind"] in ("text", "identifier") else None,
        )
        found.append(judge(candidate, values, rows, rules, params))
    return found
