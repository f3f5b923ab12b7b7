"""What stops a run while it is being cleaned, and the figures of whole tables that validation judges later.

Belongs here: limits on whole tables. Does not belong here: rules on records (sql/), checks by Great Expectations (`validate`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.clean.business import SQL_FACTS
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import Engine, Source, WorkTable
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.errors import AuditBlocked
from sales_pipeline.lake.tables import TableRef, read_batches

ADDITIVE = ("activities", "opportunity_changes")
"""Tables whose figures are counts that add up over parts, and shares of these: reading a large table for them would cost more than what a day changed in it."""


def refuse_unknown_stages(staged: WorkTable, limit: float, engine: Engine) -> int:
    """Number of opportunities in a stage nobody says the meaning of; AuditBlocked, naming the stages, above the limit, a share of all."""
    unknown = engine.query(SQL / "unknown_stages.sql", {"staged_opportunities": staged}).to_pylist()
    records = sum(int(row["records"]) for row in unknown)
    if records > limit * max(staged.rows, 1):
        names = ", ".join(f"{row['stage'] or '(empty)'} ({row['records']})" for row in unknown[:20])
        raise AuditBlocked(
            "most opportunities stand in a stage nobody says the meaning of",
            expected=f"at most {limit:.0%} of {staged.rows} records with an unknown stage",
            found=f"{records} records: {names}",
            where="mapping.stages",
            fix="name these stages under won, lost or open in mapping.stages, or name the column that says won in mapping.outcome",
        )
    return records


def refuse_absence(staged: WorkTable, previous: datetime, newest: datetime, params: CleanParams, engine: Engine) -> int:
    """Number of opportunities of the extract before that the newest full one lacks; AuditBlocked above the limit."""
    figures = engine.query(
        SQL / "absent_share.sql", {"staged_opportunities": staged}, parameters={"previous": previous, "newest": newest}
    ).to_pylist()[0]
    absent, total = int(figures["absent"] or 0), int(figures["opportunities"])
    if total and absent > params.max_absent_share * total:
        raise AuditBlocked(
            "the newest full extract lacks many opportunities of the one before",
            expected=f"at most {params.max_absent_share:.0%} of {total} absent",
            found=f"{absent} absent",
            where="the opportunities of the newest export",
            fix="export again if the file is cut short; if only changes are exported, set mapping.extract.opportunities to delta",
        )
    return absent


def new_since(first: datetime, staged: Source, engine: Engine) -> float:
    """Share (0–1) of the opportunities that exports after the first one show for the first time."""
    found = engine.query(
        SQL / "new_since_first.sql", {"staged_opportunities": staged}, parameters={"first": first}
    ).column("new_share")
    return float(found[0].as_py() or 0)


def table_facts(
    tables: Mapping[str, TableRef],
    ledger: Source,
    engine: Engine,
    duplicates: Mapping[str, int],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, float]]:
    """Figures of each canonical table; `tables` also holds row_verdicts and cell_issues, `ledger` is what ingest said of every record.

    `duplicates` are counts of duplicate keys that are known, `counts` those of ADDITIVE tables that are.
    """
    inputs: dict[str, Source] = {**tables, "ingest_ledger": ledger, "verdicts": tables["row_verdicts"]}
    facts: dict[str, dict[str, float]] = {}
    for name, contract in CANONICAL_TABLES.items():
        ref = tables[name]
        count = duplicates[name] if name in duplicates else _duplicate_keys(contract, ref, engine)
        figures: dict[str, float] = {"row_count": ref.rows, "duplicate_key_count": count}
        if name in SQL_FACTS:
            figures |= counts[name] if name in counts else _sql_facts(name, inputs, engine)
        if name == "activities":
            figures["logged_before_happening_share"] = _share(
                figures, "logged_before_happening_count", "row_count", 0.0
            )
        elif name == "opportunity_changes":
            figures["no_creation_share"] = 1 - _share(figures, "creation_count", "opportunity_count", 1.0)
        facts[name] = figures
    return facts


def counts_merged(
    base: Mapping[str, Mapping[str, int]], gone: Mapping[str, TableRef], come: Mapping[str, TableRef], engine: Engine
) -> dict[str, dict[str, int]]:
    """Counts over ADDITIVE tables from which the rows of `gone` were taken and into which those of `come` were put; `base` are the facts before.

    What a row is counted for, it is counted for among the tables of its own side: all changes of an opportunity and the opportunity a row names are in it.
    """
    found: dict[str, dict[str, int]] = {}
    for name in ADDITIVE:
        out, new = (_sql_facts(name, side, engine) for side in (gone, come))
        found[name] = {key: base[name][key] - out[key] + new[key] for key in out}
    return found


def _sql_facts(name: str, inputs: Mapping[str, Source], engine: Engine) -> dict[str, Any]:
    figures: dict[str, Any] = engine.query(SQL / f"facts_of_{name}.sql", inputs).to_pylist()[0]
    return figures


def _share(figures: Mapping[str, float], part: str, whole: str, of_none: float) -> float:
    return figures[part] / figures[whole] if figures[whole] else of_none


def _duplicate_keys(contract: Table, ref: TableRef, engine: Engine) -> int:
    """Rows of a table whose key another one has, but one of each key.

    A file lies in the order of its key, so equal keys are neighbours. Of the parts of a table only each one does: there the engine is asked.
    """
    if not ref.rows:
        return 0
    if len(ref.files) > 1:
        keys = exp.select(*(exp.column(k) for k in contract.key)).from_("rows").distinct()
        return ref.rows - _count(keys, {"rows": ref}, engine)
    count, last = 0, None
    for batch in read_batches(ref, columns=list(contract.key)):
        rows = pa.Table.from_batches([batch] if last is None else [last, batch]).combine_chunks()
        pairs = zip(rows.slice(0, rows.num_rows - 1).columns, rows.slice(1).columns, strict=True)
        is_repeated = functools.reduce(pc.and_, (_is_same(one, other) for one, other in pairs))
        count += pc.sum(is_repeated).as_py() or 0
        last = batch.slice(batch.num_rows - 1)
    return count


def _is_same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))


def duplicate_keys_merged(contract: Table, base: TableRef, gone: TableRef, come: TableRef, engine: Engine) -> int:
    """The same of a table of unique keys (`base`) without the keys of `gone`, with the rows of `come`: only their keys are looked for in it."""
    if not come.rows:
        return 0

    def same(other: str) -> exp.Expr:
        pairs = ((exp.column(key, table="c"), exp.column(key, table=other)) for key in contract.key)
        return exp.and_(*(one.eq(two) for one, two in pairs))

    keys = exp.select(*(exp.column(k) for k in contract.key)).from_("come").distinct()
    met = exp.select("c.*").from_(keys.subquery("c")).join("base AS b", on=same("b"), dialect=DIALECT)
    met = met.join("gone AS g", on=same("g"), join_type="anti", dialect=DIALECT)
    return _duplicate_keys(contract, come, engine) + _count(met, {"base": base, "gone": gone, "come": come}, engine)


def _count(rows: exp.Query, inputs: Mapping[str, Source], engine: Engine) -> int:
    found = engine.query(exp.select(exp.alias_(exp.Count(this=exp.Star()), "n")).from_(rows.subquery("r")), inputs)
    return int(found.column("n")[0].as_py())
