"""What became of every record: from the staged tables' verdicts to the final row ledger and the cell issues.

Belongs here: queries over the `problem`, `version`, `bad_*`, `negative_*`, `early_*` and `orphan_*` columns of staged tables.
Does not belong here: the rules that set them (sql/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from sqlglot import exp

from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_LEDGER
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import DIALECT, parse_model
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.lake.tables import TableRef

STRUCTURAL = ("deleted", "other field")
"""Reasons that are no fault of the record: deleted in the CRM; history of a field that no canonical column holds."""

ISSUE_REASONS: dict[str, str] = {
    "bad": "cannot be read as the column's type, or lies outside its range",
    "negative": "is a negative amount",
    "early": "lies before the creation of the record",
    "orphan": "names a record that the exports do not hold",
}
"""By prefix of a staged column that holds the value at fault; the rest of its name is the canonical column."""


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def _col(name: str) -> exp.Column:
    return exp.column(name)


def exceptions_of(table: str, *, keeps_deleted: bool, has_deleted_flag: bool) -> exp.Query:
    """Records of a staged table that are not accepted; columns of ROW_LEDGER from `outcome` on, by record."""
    is_kept = _col("problem").is_(exp.Null()).and_(_col("version").eq(1))
    outcome = exp.Case()
    reason = exp.Case()
    structural = _col("problem").isin(*(_text(reason) for reason in STRUCTURAL))
    outcome = outcome.when(structural, _text("structural"))
    reason = reason.when(_col("problem").is_(exp.Null()).not_(), _col("problem"))
    outcome = outcome.when(_col("problem").is_(exp.Null()).not_(), _text("quarantined"))
    outcome = outcome.when(_col("version") > 1, _text("duplicate_of"))
    reason = reason.when(_col("version") > 1, _text("same key"))
    wanted: exp.Expr = exp.not_(is_kept)
    if has_deleted_flag and not keeps_deleted:
        outcome = outcome.when(_col("is_deleted"), _text("structural"))
        reason = reason.when(_col("is_deleted"), _text("deleted"))
        wanted = exp.or_(wanted, _col("is_deleted"))
    is_duplicate = _col("problem").is_(exp.Null()).and_(_col("version") > 1)
    kept = exp.DPipe(
        this=exp.DPipe(this=_col("kept_file"), expression=_text(":"), safe=True),
        expression=exp.cast(_col("kept_record"), "VARCHAR"),
        safe=True,
    )
    return (
        exp.select(
            _col("source_file"),
            _col("source_record"),
            exp.alias_(outcome, "outcome"),
            exp.alias_(reason, "reason"),
            exp.alias_(
                exp.Case().when(_col("problem").is_(exp.Null()).not_(), _col("problem_column")), "problem_column"
            ),
            exp.alias_(exp.Case().when(_col("problem").is_(exp.Null()).not_(), _col("problem_value")), "problem_value"),
            exp.alias_(exp.Case().when(is_duplicate, kept), "duplicate_of"),
        )
        .from_(table)
        .where(wanted)
    )


def issues_of(staged: str, canonical: str, columns: Sequence[str]) -> list[exp.Query]:
    """One query per issue column: cells of kept records that could not be used."""
    queries: list[exp.Query] = []
    for column in columns:
        prefix, _, target = column.partition("_")
        if prefix not in ISSUE_REASONS:
            continue
        queries.append(
            exp.select(
                _col("source_file"),
                _col("source_record"),
                exp.alias_(_text(canonical), "canonical_table"),
                exp.alias_(_text(target), "issue_column"),
                exp.alias_(_col(column), "issue_value"),
                exp.alias_(_text(ISSUE_REASONS[prefix]), "reason"),
            )
            .from_(staged)
            .where(_col(column).is_(exp.Null()).not_(), _col("problem").is_(exp.Null()), _col("version").eq(1))
        )
    return queries


def select_from(table: str, columns: Sequence[str]) -> exp.Query:
    """The columns of a table, by name."""
    return exp.select(*(_col(name) for name in columns)).from_(table)


def accepted_of(table: str) -> exp.Query:
    """Keys of the records a staged table took."""
    return (
        exp.select("source_file", "source_record")
        .from_(table)
        .where(_col("problem").is_(exp.Null()), _col("version").eq(1))
    )


def union(queries: Sequence[exp.Query]) -> exp.Query:
    """UNION ALL of one or more queries."""
    result = queries[0]
    for query in queries[1:]:
        result = exp.union(result, query, distinct=False, dialect=DIALECT)
    return result


def write_cell_issues(
    staged: Mapping[str, tuple[str, TableRef]], extra: Mapping[str, Source], files: Source, engine: Engine, output: Path
) -> TableRef:
    """CELL_ISSUES of all staged tables (name: canonical table, table) and of `extra` tables that have its columns already."""
    queries: list[exp.Query] = []
    inputs: dict[str, Source] = {"files": files}
    for name, (canonical, ref) in staged.items():
        found = issues_of(name, canonical, pq.read_schema(ref.path).names)
        if found:
            queries.extend(found)
            inputs[name] = ref
    for name, source in extra.items():
        inputs[name] = source
        queries.append(
            exp.select(
                "source_file", "source_record", "canonical_table", "issue_column", "issue_value", "reason"
            ).from_(name)
        )
    one_per_cell = (
        exp.select(
            "i.source_file", "i.source_record", "i.issue_column",
            exp.alias_(exp.Min(this=exp.column("canonical_table", table="i")), "canonical_table"),
            exp.alias_(exp.Min(this=exp.column("issue_value", table="i")), "issue_value"),
            exp.alias_(exp.Min(this=exp.column("reason", table="i")), "reason"),
        )
        .from_(union(queries).subquery("i"))
        .group_by("i.source_file", "i.source_record", "i.issue_column")
    )  # fmt: skip
    tree = (
        exp.select(
            "c.source_file", "c.source_record", exp.func("COALESCE", exp.column("file", table="f"), _text("?")).as_("file"),
            "c.canonical_table", exp.column("issue_column", table="c").as_("column", quoted=True),
            exp.column("issue_value", table="c").as_("value", quoted=True), "c.reason",
        )
        .from_(one_per_cell.subquery("c"))
        .join("files AS f", on="f.source_file = c.source_file", join_type="left", dialect=DIALECT)
    )  # fmt: skip
    return engine.run(tree, inputs, output, contract=CELL_ISSUES)


def write_ledger(
    ingested: Source,
    exceptions: Sequence[exp.Query],
    accepted: Sequence[exp.Query],
    inputs: Mapping[str, Source],
    engine: Engine,
    output: Path,
) -> TableRef:
    """The final ledger: what ingest accepted, with cleaning's verdict put over it.

    A record that feeds several tables is accepted when any of them took it (`accepted`: keys of such records). `ingested` holds every record once. Raises LedgerUnbalanced when a record was lost or made up on the way.
    """
    verdicts = union(exceptions)
    one = exp.select(
        "source_file", "source_record", "outcome", "reason", "problem_column", "problem_value", "duplicate_of",
        exp.alias_(
            exp.Window(
                this=exp.RowNumber(),
                partition_by=[_col("source_file"), _col("source_record")],
                order=exp.Order(expressions=[exp.Ordered(this=_col(n), nulls_first=False) for n in ("outcome", "reason", "duplicate_of")]),
            ),
            "number",
        ),
    ).from_(verdicts.subquery("v"))  # fmt: skip
    tables: dict[str, exp.Query] = {"verdicts": one}
    if accepted:
        tables["taken"] = exp.select("source_file", "source_record").from_(union(accepted).subquery("t")).distinct()
    model = Path(__file__).parent / "sql" / ("row_ledger_shared.sql" if accepted else "row_ledger.sql")
    tree = parse_model(model)
    for name, query in tables.items():
        tree = tree.with_(name, as_=query)
    ref = engine.run(tree, {**inputs, "ingest_ledger": ingested}, output, contract=ROW_LEDGER)
    expected = engine.query(Path(__file__).parent / "sql" / "ledger_size.sql", {"ingest_ledger": ingested})
    records = int(expected.column("records")[0].as_py())
    if records != ref.rows:
        raise LedgerUnbalanced(
            "the row ledger does not add up",
            expected=f"{records} records of the ingested files",
            found=f"{ref.rows} rows in the final ledger",
            where=str(output),
            fix="this is a fault of the program: keep the export and report it",
        )
    return ref
