"""What stops a run while it is being cleaned, and the figures of whole tables that validation judges later.

Belongs here: limits on whole tables. Does not belong here: rules on records (sql/), checks by Great Expectations (`validate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlglot import exp

from sales_pipeline.clean.business import SQL_FACTS
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.engines.base import Engine, Source, WorkTable
from sales_pipeline.errors import AuditBlocked
from sales_pipeline.lake.tables import TableRef


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


def table_facts(tables: Mapping[str, TableRef], engine: Engine) -> dict[str, dict[str, float]]:
    """Figures of each canonical table; `tables` also holds row_ledger and cell_issues."""
    facts: dict[str, dict[str, float]] = {}
    for name, contract in CANONICAL_TABLES.items():
        ref = tables[name]
        figures: dict[str, float] = {"row_count": ref.rows, "duplicate_key_count": 0}
        if ref.rows:
            keys = exp.select(*(exp.column(k) for k in contract.key)).from_(name).distinct()
            distinct = exp.select(exp.alias_(exp.Count(this=exp.Star()), "keys")).from_(keys.subquery("k"))
            figures["duplicate_key_count"] = ref.rows - int(
                engine.query(distinct, {name: ref}).column("keys")[0].as_py()
            )
        if name in SQL_FACTS:
            inputs: dict[str, Source] = dict(tables)
            figures |= engine.query(SQL / f"facts_of_{name}.sql", inputs).to_pylist()[0]
        facts[name] = figures
    return facts
