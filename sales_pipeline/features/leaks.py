"""The leak ledger: per candidate column, whether a model may see it, and why.

Judged are all attributes and the catalogue features that rest on values the CRM shows only as last seen; features whose past is known
(versioned fields, dated events) are used. Verdicts, in the order they are looked for:

    never_use / use_anyway   the configuration says so
    leak                     statistics: where changes are known, filled at close or another value at the landmark than last;
                             filled only at close; too good alone
    constant, identifier     shape: one value; as many values as rows, or free text
    use                      changes are known and show the value at the landmark
    suspect                  semantics: nothing shows that the value was there early (`leak_words`); or statistics: missingness or
                             distribution differ between open and closed

Belongs here: the ledger as a whole, of canonical tables and of a flat table. Does not belong here: the verdict on one (`leak_verdicts`), its figures
(`leak_statistics`, `leak_history`, `leak_gain`), words (`leak_words`), reading the canonical columns (`leak_columns`), choosing among allowed
columns (`selector`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import LEAK_LEDGER
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.machine import one_core
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.kept import CanonicalTables
from sales_pipeline.features.leak_columns import ColumnRules, judged_columns
from sales_pipeline.features.leak_gain import Judged, with_gains
from sales_pipeline.features.leak_statistics import Rows, evenly, kind_of, levels
from sales_pipeline.features.leak_verdicts import Candidate, Rules, is_free_text, judge, plain
from sales_pipeline.features.leak_words import suspicion
from sales_pipeline.features.params import LeakParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, conform, read_table, write_table


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


@one_core()
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
    key = digest_of(
        "leak_ledger",
        training.key,
        canonical.tables["opportunity_attributes"].sha256,
        canonical.tables["attribute_changes"].sha256,
        sorted(mapping.never_use),
        sorted(mapping.use_anyway),
        chosen.model_dump(),
        *(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("leak*.py"))),
    )

    def make(folder: Path) -> dict[str, Any]:
        rows = with_gains(judged_columns(canonical, training, mapping, engine, chosen))
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
    keep = evenly(len(frame), chosen.max_rows)
    rows = Rows(numbers[keep], opened[keep], fold[keep].astype(np.int64), is_binary)
    rules = Rules(never_use, use_anyway)
    found = []
    for name in frame.columns:
        values = frame[name]
        if kind_of(values) == "category" and not isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("string")
        candidate = Candidate(str(name), suspicion(str(name)), "text" if is_free_text(values) else None)
        looked_at = values.iloc[keep]
        found.append(Judged(judge(candidate, looked_at, rows, rules, chosen), levels(looked_at), rows, None))
    return conform(ledger_table(with_gains(found)), LEAK_LEDGER)


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
