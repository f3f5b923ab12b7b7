"""README.txt of a run's folder: for the person who imports its files into a CRM."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from sales_pipeline.contracts.published import PUBLISHED_TABLES

_HOW_TO_IMPORT = {
    "scored_opportunities": (
        "Update existing opportunities (or leads, see column kind) by opportunity_id. Map only the columns you created fields for;",
        "never map amount, crm_close_date, crm_probability or stage: they are copies of what the CRM said and must not overwrite it.",
    ),
    "follow_up_queue": (
        "Create or update tasks by queue_id (an external id field on the task): the same follow-up keeps its id until it is done,",
        "expires or is overtaken, so that importing twice makes no second task. Assign to owner_id, due at due_at.",
    ),
    "left_out": ("For reading only: why an open opportunity is not in today's queue.",),
    "owner_workload": (
        "For reading only: each owner's selling time of the day, where that figure comes from, and what fills it.",
    ),
    "queue_effect": (
        "For reading only: whether following the queue changes anything, by the opportunities kept out of it at random; an empty value means that",
        "there is no evidence yet, and detail says what is missing.",
    ),
    "row_ledger_summary": ("For reading only: what became of every record of the export files.",),
    "model_monitoring": (
        "For reading only: whether the model still works as it should; rows with is_alert need a look.",
    ),
    "team_performance": (
        "For reading only: company, teams and owners. A win rate is told apart from the company's only where win_rate_verdict says so.",
    ),
    "stage_times": ("For reading only: how long opportunities stay in each stage, per company, team and owner.",),
    "account_insights": (
        "Update existing accounts by account_id with the columns you created fields for; care_action and care_reason make a task for owner_id.",
    ),
    "revenue_forecast": (
        "For reading and planning; it belongs to no record of the CRM. Filter by level and period_kind before adding up: teams and owners each",
        "add up to the company's figures, and months to their quarter's.",
    ),
    "forecast_changes": ("For reading only: what moved the forecast since the run named in previous_run_id.",),
    "forecast_history": ("For reading only: what was forecast at earlier dates, and what came.",),
    "forecast_accuracy": ("For reading only: how right earlier forecasts were, beside two simple ones.",),
    "field_dictionary": ("For reading only: type, unit and meaning of every column, and what an empty cell means.",),
}


def readme(tables: Mapping[str, pa.Table], run_id: str, as_of: str) -> str:
    """The text: what each file is, its key, how to import it; the same bytes for the same run."""
    lines = [
        f"Sales Pipeline, run {run_id}",
        f"Everything here holds for the instant {as_of}; nothing recorded at or after it was used.",
        "",
        "Each table lies here twice: as CSV (UTF-8 without byte order mark, comma, lines end in LF) and as Parquet.",
        "Dates are YYYY-MM-DD, instants YYYY-MM-DDTHH:MM:SS.000Z (UTC), numbers have a full stop and no thousands sign,",
        "an empty cell means what field_dictionary.csv says. Probabilities are 0 to 1. Identifiers are the CRM's own.",
        "In a spreadsheet, import the columns of identifiers as text; opening the file by a double click may damage them.",
    ]
    for name, data in tables.items():
        contract = PUBLISHED_TABLES[name]
        lines += [
            "",
            f"{name}.csv: {data.num_rows} rows",
            f"  {contract.grain[0].upper()}{contract.grain[1:]}.",
            f"  Key: {', '.join(contract.key)}.",
            *(f"  {line}" for line in _HOW_TO_IMPORT[name]),
        ]
    lines += [
        "",
        "report.html: the run in one page for people, readable in any browser and without a network.",
        "model_card.json, model_card.html: what the model is, what it was trained on, how well it did out of time, and its limits.",
        "manifest.json: row counts, the sha256 of every file, and digests of everything that went in.",
    ]
    return "\n".join(lines) + "\n"
