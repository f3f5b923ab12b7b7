"""The audit of what is about to be published: each table against its contract, and the tables against each other.

Belongs here: checks that read published tables and nothing else. Does not belong here: writing (publish), checks of
canonical tables (clean).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.domain.money import to_amount
from sales_pipeline.sales_management.checks import check_accounts, check_stage_times, check_team

WRITTEN_TEXT = ("reason", "evidence", "detail", "abstain_reason", "note", "care_reason")
"""Columns whose text the pipeline writes itself; other text is copied from the CRM and has to stay byte for byte."""

# A cell that a spreadsheet takes for a formula (OWASP, "CSV Injection"); full-width signs and leading space included.
_TRIGGER = r"^[\s\x{00A0}]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
# Text copied from a CRM may begin with a dash ("- none -", "-1"): there only what can compute is refused.
_FORMULA = r"^[\s\x{00A0}]*([=@\x{FF1D}\x{FF20}]|[+\-\x{FF0B}\x{FF0D}].*[(!|])"
_EMAIL = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+\.[A-Za-z]{2,}"
# Digits alone are ids and amounts; a phone number shows its plus sign, its brackets or its groups.
_PHONE = r"\+\d[\d\s().\-]{7,}\d|\(\d{2,5}\)[\s\d\-]{5,}|\b\d{3}[\s.\-]\d{3}[\s.\-]\d{4}\b|\b0\d{2,5}[\s/\-]\d{5,}\b"
_CONTROL = r"[\x00-\x08\x0B-\x1F\x7F]"

_ORDERED = {
    "scored_opportunities": (
        ("win_probability_low", "win_probability"),
        ("win_probability", "win_probability_high"),
        ("win_probability_30d", "win_probability_90d"),
        ("win_probability_90d", "win_probability"),
        ("expected_amount_low", "expected_amount"),
        ("expected_amount", "expected_amount_high"),
        ("predicted_close_date_low", "predicted_close_date"),
        ("predicted_close_date", "predicted_close_date_high"),
    ),
    "follow_up_queue": (("as_of", "due_at"), ("due_at", "expires_at")),
    "revenue_forecast": (("low", "expected"), ("expected", "high"), ("period_start", "period_end")),
    "team_performance": (
        ("won_count", "closed_count"),
        ("adjusted_win_rate_low", "adjusted_win_rate"),
        ("adjusted_win_rate", "adjusted_win_rate_high"),
        ("unanswered_count", "inbound_count"),
        ("queue_worked_count", "queue_count"),
    ),
    "stage_times": (("left_count", "stay_count"),),
    "account_insights": (("purchase_days", "won_count"), ("first_won_at", "last_won_at")),
}
MOST_REASONS = 3


def audit(tables: Mapping[str, pa.Table], run_id: str) -> list[str]:
    """Every failure, one sentence each, with table, column, count and an example; empty when all may be published."""
    failures: list[str] = []
    sound: dict[str, pa.Table] = {}
    for name, data in tables.items():
        contract = PUBLISHED_TABLES.get(name)
        if contract is None:
            failures.append(f"{name}: not a published table; expected one of {', '.join(PUBLISHED_TABLES)}")
            continue
        found = list(_shape(data, contract))
        if not found:
            found = list(_cells(data, contract, run_id))
            sound[name] = data
        failures += found
    failures += _across(sound)
    return failures


def _shape(data: pa.Table, contract: Table) -> Iterator[str]:
    expected = arrow_schema(contract)
    if data.schema.names != expected.names:
        missing = [name for name in expected.names if name not in data.schema.names]
        extra = [name for name in data.schema.names if name not in expected.names]
        yield f"{contract.name}: expected the contract's columns in order; missing {missing}, extra {extra}"
        return
    for field in expected:
        if data.schema.field(field.name).type != field.type:
            yield f"{contract.name}.{field.name}: expected {field.type}, found {data.schema.field(field.name).type}"


def _cells(data: pa.Table, contract: Table, run_id: str) -> Iterator[str]:
    keys = data.select(contract.key).group_by(list(contract.key)).aggregate([]).num_rows
    if keys != data.num_rows:
        yield f"{contract.name}: {data.num_rows - keys} rows repeat the key {', '.join(contract.key)}"
    for column in contract.columns:
        values = data.column(column.name)
        example = _Examples(data, contract, column.name)
        if column.required and values.null_count:
            yield example("is required and empty", pc.is_null(values))
        if column.allowed:
            yield from example.where(
                "is not an allowed value",
                pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(column.allowed, values.type)))),
            )
        if column.minimum is not None:
            yield from example.where(f"is below {column.minimum}", pc.less(values, _bound(column.minimum, values.type)))
        if column.maximum is not None:
            yield from example.where(
                f"is above {column.maximum}", pc.greater(values, _bound(column.maximum, values.type))
            )
        if column.type == "float64":
            yield from example.where("is not a finite number", pc.invert(pc.is_finite(values)))
        if column.type == "string":
            yield from _text(values, column, example)
        if column.type == "reasons":
            yield from _reasons(values, column, f"{contract.name}.{column.name}")
    for low, high in _ORDERED.get(contract.name, ()):
        yield from _Examples(data, contract, low).where(
            f"is greater than {high}", pc.greater(data.column(low), data.column(high))
        )
    if "run_id" in contract.column_names:
        yield from _Examples(data, contract, "run_id").where(
            f"is not {run_id}", pc.not_equal(data.column("run_id"), run_id)
        )


def _bound(value: float, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(to_amount(value), kind) if pa.types.is_decimal(kind) else pa.scalar(value).cast(kind)


class _Examples:
    """Puts a failing mask into a sentence with a count and the first row's key."""

    def __init__(self, data: pa.Table, contract: Table, column: str) -> None:
        self._data = data
        self._contract = contract
        self._column = column

    def __call__(self, problem: str, mask: pa.ChunkedArray) -> str:
        rows = self._data.filter(mask)
        key = ", ".join(f"{name}={rows.column(name)[0].as_py()}" for name in self._contract.key)
        value = rows.column(self._column)[0].as_py()
        return f"{self._contract.name}.{self._column}: {problem} in {rows.num_rows} rows, first {key} ({value!r})"

    def where(self, problem: str, mask: pa.ChunkedArray) -> Iterator[str]:
        if pc.any(mask).as_py():
            yield self(problem, mask)


def _text(values: pa.ChunkedArray, column: Column, example: _Examples) -> Iterator[str]:
    is_written = column.name in WRITTEN_TEXT
    refused = [
        ("begins like a spreadsheet formula", _TRIGGER if is_written else _FORMULA),
        ("holds a control character", _CONTROL),
        ("holds an e-mail address", _EMAIL),
        *([("holds a phone number", _PHONE)] if is_written else []),
    ]
    texts = values.unique()
    for problem, pattern in refused:
        if pc.any(pc.match_substring_regex(texts, pattern)).as_py():
            yield from example.where(problem, pc.match_substring_regex(values, pattern))


def _reasons(values: pa.ChunkedArray, column: Column, place: str) -> Iterator[str]:
    lists = values.combine_chunks()
    if (pc.max(pc.list_value_length(lists)).as_py() or 0) > MOST_REASONS:
        yield f"{place}: holds more than {MOST_REASONS} reasons in a row"
    reasons = lists.flatten()
    sign = 1 if column.name == "reasons_up" else -1
    weights = reasons.field("weight").to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~(weights * sign >= 0))
    if len(wrong):
        yield f"{place}: the weight of {len(wrong)} reasons has the wrong sign, first {reasons[int(wrong[0])].as_py()}"
    row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    rises = (np.abs(weights[:-1]) < np.abs(weights[1:])) & (row[:-1] == row[1:])
    if rises.any() and not len(wrong):
        yield f"{place}: reasons are not in falling order of size"
    texts = sorted(text or "" for text in pc.unique(reasons.field("text")).to_pylist())
    for problem, pattern in (
        ("begins like a spreadsheet formula", _TRIGGER),
        ("holds a control character", _CONTROL),
        ("holds an e-mail address", _EMAIL),
        ("holds a phone number", _PHONE),
    ):
        found = pc.match_substring_regex(pa.array(texts, pa.string()), pattern).to_pylist()
        if any(found):
            yield f"{place}: a text {problem}: {texts[found.index(True)]!r}"


def _across(tables: Mapping[str, pa.Table]) -> Iterator[str]:
    if "scored_opportunities" not in tables:
        return
    scored = tables["scored_opportunities"]
    yield from _abstentions(scored)
    yield from _expected_value(scored)
    instants = {
        value
        for data in tables.values()
        if "as_of" in data.column_names
        for value in data.column("as_of").unique().to_pylist()
    }
    if len(instants) > 1:
        yield f"the tables are of {len(instants)} different as-ofs"
    yield from _management(tables, scored)
    if "follow_up_queue" not in tables or "left_out" not in tables:
        return
    queued, left = (_keys(tables[name]) for name in ("follow_up_queue", "left_out"))
    open_ones = set(_keys(scored))
    for problem, found in (
        ("are twice in the queue", _repeated(queued)),
        ("are in the queue and in left_out", set(queued) & set(left)),
        ("are scored, but neither in the queue nor in left_out", open_ones - set(queued) - set(left)),
        ("are in the queue or in left_out, but not scored", (set(queued) | set(left)) - open_ones),
    ):
        if found:
            yield f"{len(found)} opportunities {problem}, first {min(found)[1]}"


def _management(tables: Mapping[str, pa.Table], scored: pa.Table) -> Iterator[str]:
    """What must hold between the tables of sales management and the scored one."""
    verdicts = []
    if "team_performance" in tables:
        verdicts += [("team_performance", one) for one in check_team(tables["team_performance"], scored)]
    if "stage_times" in tables:
        verdicts += [("stage_times", one) for one in check_stage_times(tables["stage_times"])]
    if "account_insights" in tables:
        verdicts += [("account_insights", one) for one in check_accounts(tables["account_insights"], scored)]
    for name, verdict in verdicts:
        if not verdict.passed:
            yield f"{name}: {verdict.name} fails: {verdict.message}"


def _keys(data: pa.Table) -> list[tuple[str, str]]:
    return list(zip(data.column("source_system").to_pylist(), data.column("opportunity_id").to_pylist(), strict=True))


def _repeated(keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    return {key for key in keys if key in seen or seen.add(key)}  # type: ignore[func-returns-value]


def _abstentions(scored: pa.Table) -> Iterator[str]:
    has_none = pc.is_null(scored.column("win_probability"))
    for name in ("score", "grade", "trend"):
        odd = pc.sum(pc.xor(has_none, pc.is_null(scored.column(name)))).as_py()
        if odd:
            yield f"scored_opportunities.{name}: is not empty exactly where win_probability is, in {odd} rows"
    odd = pc.sum(pc.equal(has_none, pc.is_null(scored.column("abstain_reason")))).as_py()
    if odd:
        yield f"scored_opportunities.abstain_reason: is not given exactly where win_probability is empty, in {odd} rows"


def _expected_value(scored: pa.Table) -> Iterator[str]:
    both = pc.multiply(scored.column("win_probability"), scored.column("expected_amount").cast(pa.float64()))
    value = scored.column("expected_value").cast(pa.float64())
    off = pc.sum(pc.greater(pc.abs(pc.subtract(both, value)), pc.add(0.0051, pc.multiply(both, 1e-9)))).as_py()
    missing = pc.sum(pc.xor(pc.is_null(both), pc.is_null(value))).as_py()
    if off or missing:
        yield (
            "scored_opportunities.expected_value: is not win_probability x expected_amount "
            f"in {(off or 0) + (missing or 0)} rows"
        )
