"""Raw tables: what ingest hands to cleaning. Canonical column names, everything still text.

Every raw table begins with the lineage columns; the other columns are text as found in the export after Unicode NFKC
normalisation, with the mapping's tokens for "missing" and empty cells as NULL. A column the export lacks is NULL throughout.
Which columns were mapped stands in the ingest facts (`mapped_columns`).
"""

from __future__ import annotations

from sales_pipeline.contracts.model import Column, Table

LINEAGE = (
    Column("source_file", "string", "sha256 of the export file", required=True),
    Column("source_record", "int64", "number of the physical record, 1 for the first data record", required=True),
    Column("export_id", "string", "export the file belongs to", required=True),
)

_TEXT: dict[str, tuple[str, ...]] = {
    "raw_accounts": (
        "account_id", "industry", "employees", "annual_revenue", "country", "account_type", "parent_account_id", "owner_id",
        "created_at", "modified_at", "is_deleted",
    ),
    "raw_contacts": (
        "contact_id", "account_id", "email_opt_out", "do_not_call", "email_allowed", "call_allowed", "created_at", "modified_at", "is_deleted",
    ),
    "raw_owners": ("owner_id", "team", "manager_id", "is_active", "country", "time_zone", "capacity_minutes", "modified_at", "is_deleted"),
    "raw_products": ("product_id", "family", "list_price", "modified_at", "is_deleted"),
    "raw_stages": ("pipeline", "stage", "label", "is_closed", "is_won", "position", "probability"),
    "raw_opportunities": (
        "opportunity_id", "kind", "pipeline", "account_id", "contact_id", "owner_id", "product_id", "stage", "outcome", "is_won", "is_closed",
        "currency", "amount", "crm_close_date", "crm_probability", "lead_source", "opportunity_type", "created_at", "closed_at", "modified_at",
        "converted_from_lead_id", "converted_to_opportunity_id", "is_deleted",
    ),
    "raw_opportunity_attributes": ("opportunity_id", "attribute", "value"),
    "raw_state_history": (
        "change_id", "opportunity_id", "changed_at", "stage", "amount", "crm_close_date", "crm_probability", "owner_id", "is_deleted",
    ),
    "raw_field_history": ("change_id", "opportunity_id", "changed_at", "field", "old_value", "new_value", "is_deleted"),
    "raw_activities": (
        "activity_id", "opportunity_id", "account_id", "contact_id", "owner_id", "kind", "direction", "occurred_at", "due_at", "logged_at",
        "is_done", "queue_id", "modified_at", "is_deleted",
    ),
    "raw_opportunity_products": ("line_id", "opportunity_id", "product_id", "quantity", "total_price", "created_at", "modified_at", "is_deleted"),
    "raw_quotas": ("owner_id", "period_start", "period_end", "amount", "currency"),
    "raw_cases": ("case_id", "account_id", "opened_at", "closed_at", "score", "modified_at", "is_deleted"),
    "raw_exchange_rates": ("currency", "valid_from", "rate"),
}  # fmt: skip

MEANINGS: dict[str, str] = {
    "outcome": "the column, where there is one apart from the stage, that says won or lost (mapping.outcome)",
    "field": "stage, amount, crm_close_date, crm_probability or owner_id; other tracked fields keep the export's own field name",
    "old_value": "value before the change; NULL where there was none or the export does not say",
    "new_value": "value after the change; NULL where it was cleared",
    "change_id": "the source's own id of the change: breaks ties among changes of one instant",
    "queue_id": "id of the follow-up (follow_up_queue) that a task works, in the field the tasks were imported with",
    "capacity_minutes": "selling time on a working day, in minutes",
    "is_done": "a word that says whether the activity was done",
    "opportunity_id": "id of the opportunity; in activities the record the activity is about (an account's id is possible too)",
    "label": "the stage's label where records name it by id",
    "attribute": "header of the unmapped column, as in the export",
}


def _table(name: str, columns: tuple[str, ...]) -> Table:
    text = tuple(
        Column(
            column,
            "string",
            MEANINGS.get(column, column.replace("_", " ") + ", as text"),
            null_means="empty, missing or not mapped",
        )
        for column in columns
    )
    key = ("source_file", "source_record", "attribute") if "attribute" in columns else ("source_file", "source_record")
    if "attribute" in columns:
        text = tuple(Column(c.name, "string", c.meaning, required=True) if c.name == "attribute" else c for c in text)
    return Table(
        name,
        "one row per accepted physical record" + (" and filled unmapped column" if "attribute" in columns else ""),
        key,
        (*LINEAGE, *text),
    )


RAW_TABLES: dict[str, Table] = {name: _table(name, columns) for name, columns in _TEXT.items()}
"""By name."""
