"""Validation of the canonical tables by Great Expectations: suites from the contracts and the business rules.

Rows are seen in batches of bounded size as pandas frames; facts about whole tables (counts, duplicate keys, shares) were computed by the
engine and are checked as a frame of one row. What a single row can be blamed for was quarantined or set to NULL in `prepare`, so a
row-level failure here means that a rule is missing.

Belongs here: running checks and collecting figures. Does not belong here: declaring them (contracts, `business`), rendering (`docs`).
Great Expectations is imported inside functions: it takes seconds.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.clean.business import business_rules
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import Expectation, expectations
from sales_pipeline.lake.tables import TableRef, read_batches

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical

_DERIVED = {"closed_at_of_open": ("closed_at", "state")}
"""Helper columns of the frames, by the columns they need."""
_MOVES = {"opportunity_attributes": "tracked_from"}
"""Columns that a later export may change in all rows of a table, though few of them came."""
_EXAMPLES = 5


@dataclass(frozen=True)
class CheckResult:
    """One check of one table.

    `figures` are JSON-able: rows checked and rows at fault for row-level checks, the observed figure and its limits for facts; `error`
    where the check itself crashed. `kind` and `arguments` name the expectation.
    """

    name: str
    passed: bool
    is_blocking: bool
    row_level: bool
    figures: dict[str, Any]
    message: str
    kind: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Check:
    name: str
    kind: str
    arguments: dict[str, Any]
    row_level: bool
    is_blocking: bool
    meaning: str


def check_names(table: str) -> tuple[str, ...]:
    """Names of all checks of a canonical table, in order; from the declarations alone."""
    return tuple(check.name for check in _checks(table, {}))


def validate(canonical: Canonical, table: str, before: Sequence[CheckResult] = ()) -> list[CheckResult]:
    """All checks of one canonical table, in the order of `check_names`.

    `before` are those of the tables that these were built on. Where no row was at fault then, only rows that came since are looked at: of all
    others the same would be found again.
    """
    facts = canonical.facts
    checks = _checks(table, facts.get("limits", {}))
    by_row = [check for check in checks if check.row_level]
    ref = canonical.tables[table]
    came = canonical.came.get(table)
    known = {one.name: one.figures for one in before if one.row_level and one.passed}
    is_enough = all(check.name in known for check in by_row) and _MOVES.get(table) not in _needed(by_row)
    rows = came if came is not None and is_enough else ref
    frames = _frames(rows, by_row, int(facts.get("batch_rows", 250_000))) if rows.rows else iter(())
    figures = _figures(by_row, frames)
    if rows is not ref:
        for found in figures.values():
            found["rows"] += ref.rows - rows.rows
    facts_checks = [check for check in checks if not check.row_level]
    figures |= _figures(facts_checks, _facts_frame(facts["tables"][table]))
    return [_result(check, figures[check.name]) for check in checks]


def _checks(table: str, limits: Mapping[str, float]) -> list[_Check]:
    checks = [_contract_check(expectation) for expectation in expectations(CANONICAL_TABLES[table])]
    for rule in business_rules(table):
        arguments = dict(rule.arguments)
        if rule.name in limits:
            arguments["max_value"] = limits[rule.name]
        checks.append(
            _Check(rule.name, rule.kind, arguments, rule.row_level, rule.severity == "blocking", rule.meaning)
        )
    return checks


def _contract_check(expectation: Expectation) -> _Check:
    """Uniqueness concerns the whole table, so it is checked on the facts; everything else of a contract on the rows."""
    if expectation.name == "key_unique":
        arguments = {"column": "duplicate_key_count", "min_value": 0, "max_value": 0}
        return _Check("key_unique", "expect_column_values_to_be_between", arguments, False, True, "the key is unique")
    column = str(expectation.arguments["column"])
    meaning = f"{column}: {expectation.kind.removeprefix('expect_column_values_to_').replace('_', ' ')}"
    return _Check(expectation.name, expectation.kind, dict(expectation.arguments), expectation.row_level, True, meaning)


def _needed(checks: Sequence[_Check]) -> list[str]:
    columns = [str(c.arguments[k]) for c in checks for k in ("column", "column_A", "column_B") if k in c.arguments]
    return sorted({source for column in columns for source in _DERIVED.get(column, (column,))})


def _frames(ref: TableRef, checks: Sequence[_Check], rows: int) -> Iterator[Any]:
    """Pandas frames of the columns the checks need, money as float64."""
    for batch in read_batches(ref, rows=rows, columns=_needed(checks)):
        data = pa.Table.from_batches([batch])
        for index, column in enumerate(data.schema):
            if pa.types.is_decimal(column.type):
                data = data.set_column(index, column.name, data.column(index).cast(pa.float64()))
        if any(c.arguments.get("column") == "closed_at_of_open" for c in checks):
            is_open = pc.equal(data.column("state"), "open")
            closed = pc.if_else(is_open, data.column("closed_at"), pa.scalar(None, data.column("closed_at").type))
            data = data.append_column("closed_at_of_open", closed)
        yield data.to_pandas()


def _facts_frame(figures: Mapping[str, float]) -> Iterator[Any]:
    import pandas as pd

    yield pd.DataFrame([dict(figures)])


def _figures(checks: Sequence[_Check], frames: Iterator[Any]) -> dict[str, dict[str, Any]]:
    """Every check over all frames, its figures added up."""
    figures: dict[str, dict[str, Any]] = {check.name: {"rows": 0, "rows_at_fault": 0} for check in checks}
    for frame in frames:
        for check, result in zip(checks, _validate_frame(checks, frame), strict=True):
            _add(figures[check.name], check, result, frame)
    return figures


@functools.cache
def _whole_frames() -> Any:
    """What frames become batches by; made once per process, as each context costs as much as checking a few rows does."""
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def _validate_frame(checks: Sequence[_Check], frame: Any) -> list[Any]:
    """Great Expectations' results for one frame, in the order of the checks."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.expectations.registry import get_expectation_impl

    batch = _whole_frames().get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(
        name="suite",
        expectations=[get_expectation_impl(c.kind)(**c.arguments, meta={"check": c.name}) for c in checks],
    )
    outcome = batch.validate(
        suite,
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": _EXAMPLES,
            "return_unexpected_index_query": False,
        },
    )
    by_name = {result.expectation_config.meta["check"]: result for result in outcome.results}
    return [by_name[check.name] for check in checks]


def _crash(result: Any) -> str:
    """The message of an exception inside the check, or nothing: Great Expectations reports a crash as a plain failure."""
    info = result.exception_info or {}
    entries = [info] if "raised_exception" in info else list(info.values())
    return "; ".join(
        str(e.get("exception_message")) for e in entries if isinstance(e, Mapping) and e.get("raised_exception")
    )


def _add(figures: dict[str, Any], check: _Check, result: Any, frame: Any) -> None:
    crash = _crash(result)
    if crash:
        figures["error"] = crash
        return
    details = result.result or {}
    figures["rows"] += int(details.get("element_count", len(frame)))
    figures["rows_at_fault"] += int(details.get("unexpected_count", 0 if result.success else 1))
    examples = [str(value) for value in details.get("partial_unexpected_list", [])]
    if examples and len(figures.get("examples", [])) < _EXAMPLES:
        figures["examples"] = [*figures.get("examples", []), *examples][:_EXAMPLES]
    if not check.row_level:
        figures["observed"] = float(frame[check.arguments["column"]].iloc[0])
        figures |= {k: check.arguments[k] for k in ("min_value", "max_value") if check.arguments.get(k) is not None}


def _result(check: _Check, figures: dict[str, Any]) -> CheckResult:
    if "error" in figures:
        message, passed = f"the check could not be run: {figures['error']}", False
    elif check.row_level:
        passed = figures["rows_at_fault"] == 0
        message = f"{check.meaning}: {figures['rows_at_fault']} of {figures['rows']} rows at fault"
    else:
        passed = figures["rows_at_fault"] == 0
        message = f"{check.meaning}: found {figures.get('observed', 'nothing')}"
    return CheckResult(
        check.name, passed, check.is_blocking, check.row_level, figures, message, check.kind, dict(check.arguments)
    )
