"""The scored table: predictions, the state at as-of and the last published run, joined and put into words of a CRM.

Belongs here: score, grade, trend, expected value. Does not belong here: probabilities and reasons (models).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import REASON_TYPE, arrow_schema
from sales_pipeline.contracts.published import GRADES, SCORED_OPPORTUNITIES
from sales_pipeline.domain.money import AMOUNT_PRECISION, AMOUNT_SCALE
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.lake.tables import conform
from sales_pipeline.scoring.params import ScoringParams

REASON_WEIGHT_DECIMALS = 4
_PROBABILITY = pa.decimal128(8, 6)
_AMOUNT = pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE)

_FROM_SPINE = (
    "source_system", "opportunity_id", "kind", "pipeline", "account_id", "owner_id", "as_of", "stage", "currency", "amount",
    "crm_close_date", "crm_probability",
)  # fmt: skip
_PROBABILITIES = (
    "win_probability",
    "win_probability_low",
    "win_probability_high",
    "win_probability_30d",
    "win_probability_90d",
    "slip_probability",
)
_AMOUNTS = ("expected_amount", "expected_amount_low", "expected_amount_high")
_AS_PREDICTED = (
    "predicted_close_date", "predicted_close_date_low", "predicted_close_date_high", "evidence_level", "abstain_reason",
)  # fmt: skip


def score(
    predictions: pa.Table,
    spine: pa.Table,
    previous: pa.Table | None,
    params: ScoringParams,
    *,
    model_name: str,
    model_version: str,
    run_id: str,
) -> pa.Table:
    """The table `scored_opportunities`: one row per row of the scoring spine, sorted by its key.

    Parameters
    ----------
    predictions
        PREDICTIONS: one row per spine row, NULL probabilities where the model abstained.
    spine
        SPINE of the scoring as-of (one as-of for all rows).
    previous
        `scored_opportunities` of the published run with the greatest earlier as-of; None before the first publish.

    Notes
    -----
    `score` is round-half-up of 100 x the published (six-place) win probability, held within 1–99. `expected_value` is the
    published win probability x the published expected amount, rounded half up to cents. An opportunity keeps its last
    grade until its probability is `grade_hysteresis` beyond the cut-off. `trend` is `improving` or `declining` when
    the probability lies outside the last published 80 % interval and differs by `trend_min_change` at least; `new` where
    the last run gave no probability; NULL where this one gives none.

    Raises SalesPipelineError when predictions and spine are not about the same opportunities at the same as-of.
    """
    indices = _prediction_of_each(predictions, spine)
    predicted = predictions.take(indices)
    before = _previous_of_each(previous, spine)
    size = spine.num_rows

    columns: dict[str, Any] = {name: spine.column(name) for name in _FROM_SPINE}
    columns |= {name: pc.round(predicted.column(name), ndigits=6) for name in _PROBABILITIES}
    columns |= {name: _to_amount(predicted.column(name)) for name in _AMOUNTS}
    columns |= {name: predicted.column(name) for name in _AS_PREDICTED}
    columns |= {name: _rounded_reasons(predicted.column(name)) for name in ("reasons_up", "reasons_down")}

    probability = columns["win_probability"]
    exact = probability.cast(_PROBABILITY)
    columns["score"] = _score(exact)
    columns["grade"] = _grade(probability, before["grade"], params)
    columns["trend"] = _trend(probability, before, params)
    columns["previous_win_probability"] = before["win_probability"]
    columns["expected_value"] = _round_half_up(pc.multiply(exact, columns["expected_amount"]), AMOUNT_SCALE, _AMOUNT)
    columns["model_name"] = pa.repeat(model_name, size)
    columns["model_version"] = pa.repeat(model_version, size)
    columns["run_id"] = pa.repeat(run_id, size)
    return conform(pa.table(columns), SCORED_OPPORTUNITIES)


def _prediction_of_each(predictions: pa.Table, spine: pa.Table) -> pa.Array:
    found = pc.index_in(spine.column("opportunity_id"), value_set=predictions.column("opportunity_id").combine_chunks())
    as_ofs = {instant for table in (spine, predictions) for instant in table.column("as_of").unique().to_pylist()}
    problems = []
    if found.null_count:
        problems.append(f"{found.null_count} open opportunities without a prediction")
    if predictions.num_rows != spine.num_rows:
        problems.append(f"{predictions.num_rows} predictions for {spine.num_rows} open opportunities")
    if len(as_ofs) > 1:
        problems.append(f"{len(as_ofs)} different as-ofs")
    if problems:
        raise SalesPipelineError(
            "predictions and open opportunities do not match",
            expected="one prediction per open opportunity, all at one as-of",
            found="; ".join(problems),
            fix="predict again from the scoring features of this run",
        )
    return found


def _previous_of_each(previous: pa.Table | None, spine: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The last published row of each opportunity: NULL throughout where there is none."""
    names = ("win_probability", "win_probability_low", "win_probability_high", "grade")
    if previous is None:
        previous = arrow_schema(SCORED_OPPORTUNITIES).empty_table()
    indices = pc.index_in(_row_key(spine), value_set=_row_key(previous).combine_chunks())
    rows = previous.select(names).take(indices)
    return {name: rows.column(name) for name in names}


def _row_key(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table.column("source_system"), table.column("opportunity_id"), "\x1f")


def _round_half_up(values: pa.ChunkedArray, digits: int, target: pa.DataType) -> pa.ChunkedArray:
    return pc.round(values, ndigits=digits, round_mode="half_towards_infinity").cast(target)


def _to_amount(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.round(values, ndigits=AMOUNT_SCALE, round_mode="half_towards_infinity").cast(_AMOUNT)


def _score(exact: pa.ChunkedArray) -> pa.ChunkedArray:
    hundredfold = pc.multiply(exact, pa.scalar(Decimal(100)))
    whole = pc.round(hundredfold, ndigits=0, round_mode="half_towards_infinity").cast(pa.int64())
    return pc.min_element_wise(pc.max_element_wise(whole, 1, skip_nulls=False), 99, skip_nulls=False)


def _grade(probability: pa.ChunkedArray, previous: pa.ChunkedArray, params: ScoringParams) -> pa.ChunkedArray:
    rank_before = pc.index_in(previous, value_set=pa.array(GRADES))
    rank = pa.repeat(pa.scalar(len(GRADES) - 1, pa.int32()), len(probability))
    for number in reversed(range(len(params.grade_cut_offs))):
        cut_off = params.grade_cut_offs[number]
        moved = pc.if_else(
            pc.less_equal(rank_before, number),
            round(cut_off - params.grade_hysteresis, 6),
            round(cut_off + params.grade_hysteresis, 6),
        )
        needed = pc.coalesce(moved, pa.scalar(cut_off))
        rank = pc.if_else(pc.greater_equal(probability, needed), pa.scalar(number, pa.int32()), rank)
    return pa.chunked_array(
        [pa.array(GRADES).take(rank.combine_chunks() if isinstance(rank, pa.ChunkedArray) else rank)]
    )


def _trend(probability: pa.ChunkedArray, before: dict[str, pa.ChunkedArray], params: ScoringParams) -> pa.ChunkedArray:
    was = before["win_probability"]
    low = pc.coalesce(before["win_probability_low"], was)
    high = pc.coalesce(before["win_probability_high"], was)
    moved = pc.greater_equal(pc.abs(pc.subtract(probability, was)), params.trend_min_change)
    trend = pc.if_else(
        pc.and_(moved, pc.greater(probability, high)),
        "improving",
        pc.if_else(pc.and_(moved, pc.less(probability, low)), "declining", "steady"),
    )
    trend = pc.if_else(pc.is_null(was), "new", trend)
    return pc.if_else(pc.is_null(probability), pa.scalar(None, pa.string()), trend)


def _rounded_reasons(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same lists with weights rounded, so that equal runs give equal bytes."""
    array = values.combine_chunks()
    inner = array.flatten()
    rounded = pa.StructArray.from_arrays(
        [inner.field("code"), inner.field("text"), pc.round(inner.field("weight"), ndigits=REASON_WEIGHT_DECIMALS)],
        fields=list(REASON_TYPE),
    )
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_pylist()
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    return pa.chunked_array(
        [pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rounded, type=pa.list_(REASON_TYPE))]
    )
