"""What became of every record: from the staged tables' verdicts to those the row ledger is read with, and the cell issues.

Belongs here: queries over the `problem`, `version`, `bad_*`, `negative_*`, `early_*` and `orphan_*` columns of staged tables.
Does not belong here: the rules that set them (sql/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from sales_pipeline.clean.vocabulary import union
from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_VERDICTS
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import DIALECT
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


_RECORD = ("source_file", "source_record")
_ISSUE = (*_RECORD, "canonical_table", "issue_column", "issue_value", "reason")
_VERDICT = (*_RECORD, "outcome", "reason", "problem_column", "problem_value", "duplicate_of")
"""What cleaning says about a record that it does not accept: columns of ROW_VERDICTS, by record."""


@dataclass(frozen=True)
class RowLedger:
    """What became of every physical record of the exports: one row per record, in two tables that are read together.

    `ingested` is the ledger of each export as ingest wrote it (ROW_LEDGER), `verdicts` what counts instead for records that cleaning did not take
    (ROW_VERDICTS). Few records are not taken, and a later export changes what becomes of few: so the ledger is never written again.
    A file that several exports hold is in the ledger of each; that of the export that sorts first counts (`counted_ledger` in the models that read it).
    """

    ingested: tuple[TableRef, ...]
    verdicts: TableRef

    @property
    def inputs(self) -> dict[str, Source]:
        """For the models that read it: `ingest_ledger` and `verdicts`."""
        return {"ingest_ledger": [file for ref in self.ingested for file in ref.files], "verdicts": self.verdicts}

    @property
    def lines(self) -> int:
        """Records of the exports, those of a file that several hold once for each."""
        return sum(ref.rows for ref in self.ingested)


def exceptions_of(staged: str, repeated: str, *, keeps_deleted: bool, has_deleted_flag: bool) -> exp.Query:
    """Verdicts on the records of a staged table that are not accepted; `repeated` holds those of them that share their key with others."""
    outcome = exp.Case().when(_col("problem").isin(*(_text(reason) for reason in STRUCTURAL)), _text("structural"))
    outcome = outcome.when(_col("problem").is_(exp.Null()).not_(), _text("quarantined"))
    reason: exp.Expr = _col("problem")
    wanted: exp.Expr = _col("problem").is_(exp.Null()).not_()
    if has_deleted_flag and not keeps_deleted:
        outcome = outcome.when(_col("is_deleted"), _text("structural"))
        reason = exp.Coalesce(this=reason, expressions=[_text("deleted")])
        wanted = exp.or_(wanted, exp.and_(_col("is_deleted"), _col("version").eq(1)))
    is_problem = _col("problem").is_(exp.Null()).not_()
    refused = (
        exp.select(
            _col("source_file"),
            _col("source_record"),
            exp.alias_(outcome, "outcome"),
            exp.alias_(reason, "reason"),
            exp.alias_(exp.Case().when(is_problem, _col("problem_column")), "problem_column"),
            exp.alias_(exp.Case().when(is_problem.copy(), _col("problem_value")), "problem_value"),
            exp.alias_(_null_text(), "duplicate_of"),
        )
        .from_(staged)
        .where(wanted)
    )
    kept = exp.DPipe(
        this=exp.DPipe(this=_col("kept_file"), expression=_text(":"), safe=True),
        expression=exp.cast(_col("kept_record"), "VARCHAR"),
        safe=True,
    )
    duplicates = (
        exp.select(
            _col("source_file"),
            _col("source_record"),
            exp.alias_(_text("duplicate_of"), "outcome"),
            exp.alias_(_text("same key"), "reason"),
            exp.alias_(_null_text(), "problem_column"),
            exp.alias_(_null_text(), "problem_value"),
            exp.alias_(kept, "duplicate_of"),
        )
        .from_(repeated)
        .where(_col("version") > 1)
    )
    return union([refused, duplicates])


def _null_text() -> exp.Expr:
    return exp.cast(exp.Null(), "VARCHAR")


def issues_of(staged: str, canonical: str, columns: Sequence[str]) -> exp.Query | None:
    """Cells of kept records that could not be used, by record and column; None for a table without a column that could hold one."""
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
    return union(queries) if queries else None


def accepted_of(table: str) -> exp.Query:
    """Keys of the records a staged table took."""
    return exp.select(*_RECORD).from_(table).where(_col("problem").is_(exp.Null()), _col("version").eq(1))


def _all_of(name: str, tables: Sequence[Source], columns: Sequence[str]) -> tuple[dict[str, Source], exp.Query]:
    """One or more tables under numbered names, and the query of all their rows."""
    inputs: dict[str, Source] = {f"{name}_{number}": table for number, table in enumerate(tables)}
    return inputs, union([exp.select(*columns).from_(table) for table in inputs])


def write_cell_issues(issues: Sequence[Source], files: Source, engine: Engine, output: Path) -> TableRef:
    """CELL_ISSUES of all staged tables; `issues` are tables as `issues_of` gives them."""
    inputs, found = _all_of("issues", issues, _ISSUE)
    inputs["files"] = files
    one_per_cell = (
        exp.select(
            "i.source_file", "i.source_record", "i.issue_column",
            exp.alias_(exp.Min(this=exp.column("canonical_table", table="i")), "canonical_table"),
            exp.alias_(exp.Min(this=exp.column("issue_value", table="i")), "issue_value"),
            exp.alias_(exp.Min(this=exp.column("reason", table="i")), "reason"),
        )
        .from_(found.subquery("i"))
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


def write_verdicts(exceptions: Sequence[Source], accepted: Sequence[Source], engine: Engine, output: Path) -> TableRef:
    """ROW_VERDICTS of all staged tables; `exceptions` are tables as `exceptions_of` gives them.

    A record that feeds several tables is accepted when any of them took it (`accepted`: keys of such records).
    """
    inputs, verdicts = _all_of("exceptions", exceptions, _VERDICT)
    number = exp.Window(
        this=exp.RowNumber(),
        partition_by=[_col(name) for name in _RECORD],
        order=exp.Order(expressions=[exp.Ordered(this=_col(n), nulls_first=False) for n in ("outcome", "reason", "duplicate_of")]),
    )  # fmt: skip
    numbered = exp.select(*_VERDICT, exp.alias_(number, "number")).from_(verdicts.subquery("v"))
    tree = (
        exp.select(
            "n.source_file", "n.source_record", "n.outcome", "n.reason", exp.column("problem_column", table="n").as_("column", quoted=True),
            exp.column("problem_value", table="n").as_("value", quoted=True), "n.duplicate_of",
        )
        .from_(numbered.subquery("n"))
        .where(exp.column("number", table="n").eq(1))
    )  # fmt: skip
    if accepted:
        known, taken = _all_of("accepted", accepted, _RECORD)
        same = exp.and_(*(exp.column(name, table="n").eq(exp.column(name, table="t")) for name in _RECORD))
        tree = tree.join(taken.subquery("t"), on=same, join_type="anti", dialect=DIALECT)
        inputs |= known
    return engine.run(tree, inputs, output, contract=ROW_VERDICTS)
