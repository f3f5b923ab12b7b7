"""The canonical tables: our own typed tables; everything after cleaning knows no other.

Only `opportunities` is required of an export; the other tables may be empty, and what needs them is absent by name.
No canonical table holds names, e-mail addresses, phone numbers or notes of people.
"""

from __future__ import annotations

from sales_pipeline.contracts.model import Column, Table

C = Column

_SOURCE = C("source_system", "string", "the CRM instance the record comes from, as named in the mapping", required=True)
_LINEAGE = (
    C("source_file", "string", "digest of the export file the record stands in", required=True),
    C("source_record", "int64", "number of the physical record in that file, 1 for the first", required=True),
)
_NOT_RECORDED = "not recorded in the export"

ACCOUNTS = Table(
    "accounts",
    "one row per account (company), as last seen",
    ("account_id",),
    (
        _SOURCE,
        C("account_id", "string", "identifier of the account", required=True),
        C("industry", "string", "branch of industry, as a normalised category", null_means=_NOT_RECORDED),
        C("employees", "int64", "number of employees", null_means=_NOT_RECORDED, minimum=0),
        C("annual_revenue", "float64", "annual revenue", unit="as recorded", null_means=_NOT_RECORDED),
        C("country", "string", "country of the account", null_means=_NOT_RECORDED),
        C("account_type", "string", "customer, prospect, partner… as recorded", null_means=_NOT_RECORDED),
        C("parent_account_id", "string", "account this one belongs to", null_means="no parent recorded"),
        C("owner_id", "string", "owner of the account", null_means=_NOT_RECORDED),
        C("created_at", "timestamp", "when the record was created", unit="UTC", null_means=_NOT_RECORDED),
        *_LINEAGE,
    ),
)

CONTACTS = Table(
    "contacts",
    "one row per contact person, by id only",
    ("contact_id",),
    (
        _SOURCE,
        C("contact_id", "string", "identifier of the contact", required=True),
        C("account_id", "string", "account the contact belongs to", null_means="no account recorded"),
        C("email_allowed", "boolean", "may be e-mailed", null_means="no consent recorded either way"),
        C("call_allowed", "boolean", "may be called", null_means="no consent recorded either way"),
        C("created_at", "timestamp", "when the record was created", unit="UTC", null_means=_NOT_RECORDED),
        *_LINEAGE,
    ),
)

OWNERS = Table(
    "owners",
    "one row per owner (seller, user)",
    ("owner_id",),
    (
        _SOURCE,
        C("owner_id", "string", "identifier of the owner", required=True),
        C("team", "string", "team, role or office", null_means=_NOT_RECORDED),
        C("manager_id", "string", "owner this one reports to", null_means=_NOT_RECORDED),
        C("is_active", "boolean", "still works here", null_means="not recorded: taken as active"),
        C("country", "string", "where the owner works, as the CRM writes it", null_means=_NOT_RECORDED),
        C("time_zone", "string", "IANA name of the zone the owner works in", null_means=_NOT_RECORDED),
        C(
            "capacity_minutes",
            "int64",
            "selling time on a working day",
            unit="minutes",
            null_means=_NOT_RECORDED,
            minimum=0,
        ),
        *_LINEAGE,
    ),
)

PRODUCTS = Table(
    "products",
    "one row per product",
    ("product_id",),
    (
        _SOURCE,
        C("product_id", "string", "identifier of the product", required=True),
        C("family", "string", "family or series", null_means=_NOT_RECORDED),
        C("list_price", "amount", "list price", unit="currency of the product", null_means=_NOT_RECORDED),
        *_LINEAGE,
    ),
)

OPPORTUNITIES = Table(
    "opportunities",
    "one row per opportunity (or lead), as last seen in the visible exports",
    ("opportunity_id",),
    (
        _SOURCE,
        C("opportunity_id", "string", "identifier of the opportunity", required=True),
        C("kind", "string", "opportunity or lead", required=True, allowed=("opportunity", "lead")),
        C("pipeline", "string", "sales process or record type", null_means="only one pipeline"),
        C("account_id", "string", "account it is for", null_means="no account, or an account the export lacks"),
        C("contact_id", "string", "main contact", null_means=_NOT_RECORDED),
        C("owner_id", "string", "owner as last seen", null_means="no owner recorded"),
        C("product_id", "string", "main product", null_means=_NOT_RECORDED),
        C("stage", "string", "stage as last seen, as the CRM writes it", null_means="the CRM has no stage for it"),
        C("state", "string", "what the stage says", required=True, allowed=("open", "won", "lost")),
        C("currency", "string", "ISO 4217 code", required=True),
        C("amount", "amount", "amount as last seen", unit="currency", null_means=_NOT_RECORDED),
        C("crm_close_date", "date", "close date the CRM shows: expected while open", null_means=_NOT_RECORDED),
        C(
            "crm_probability",
            "float64",
            "the CRM's own probability",
            unit="0–1",
            null_means=_NOT_RECORDED,
            minimum=0,
            maximum=1,
        ),
        C("lead_source", "string", "where it came from, normalised", null_means=_NOT_RECORDED),
        C("opportunity_type", "string", "new business, renewal… normalised", null_means=_NOT_RECORDED),
        C(
            "created_at",
            "timestamp",
            "when it was created",
            unit="UTC",
            null_means="not recorded: point-in-time features are absent",
        ),
        C(
            "closed_at",
            "timestamp",
            "when it was won or lost",
            unit="UTC",
            null_means="open, or the closing instant is not recorded",
        ),
        C("modified_at", "timestamp", "last modification", unit="UTC", null_means=_NOT_RECORDED),
        C(
            "converted_from_lead_id",
            "string",
            "lead it was converted from",
            null_means="not from a lead, or not recorded",
        ),
        C(
            "removed_at",
            "timestamp",
            "export instant from which it was deleted or absent",
            unit="UTC",
            null_means="still there",
        ),
        *_LINEAGE,
    ),
)

OPPORTUNITY_ATTRIBUTES = Table(
    "opportunity_attributes",
    "one row per opportunity and unmapped column that holds a value",
    ("opportunity_id", "attribute"),
    (
        _SOURCE,
        C("opportunity_id", "string", "identifier of the opportunity", required=True),
        C("attribute", "string", "column name as in the export", required=True),
        C(
            "kind",
            "string",
            "type found over the whole column",
            required=True,
            allowed=("number", "boolean", "date", "category", "text", "identifier"),
        ),
        C("text_value", "string", "the value as normalised text", required=True),
        C(
            "number_value",
            "float64",
            "numbers, 0/1 for booleans, days since 1970-01-01 for dates",
            null_means="not a number, boolean or date",
        ),
        C(
            "tracked_from",
            "timestamp",
            "from when on every change of this column stands in attribute_changes; the same in all rows of a column",
            unit="UTC",
            null_means="only the last seen value is known",
        ),
    ),
)

ATTRIBUTE_CHANGES = Table(
    "attribute_changes",
    "one row per opportunity, unmapped column and instant at which its value changed, as the history export or comparing exports shows it",
    ("opportunity_id", "attribute", "changed_at", "sequence"),
    (
        _SOURCE,
        C("opportunity_id", "string", "identifier of the opportunity", required=True),
        C("attribute", "string", "column name as in opportunity_attributes", required=True),
        C("changed_at", "timestamp", "when the change was recorded or first seen", unit="UTC", required=True),
        C("sequence", "int64", "order among changes of the same instant", required=True, minimum=0),
        C("old_value", "string", "value before, as the source writes it", null_means="it was empty before"),
        C("new_value", "string", "value after, as the source writes it", null_means="it was cleared"),
    ),
)

OPPORTUNITY_CHANGES = Table(
    "opportunity_changes",
    "one row per opportunity and instant at which a tracked field changed: the whole state right after",
    ("opportunity_id", "changed_at", "sequence"),
    (
        _SOURCE,
        C("opportunity_id", "string", "identifier of the opportunity", required=True),
        C("changed_at", "timestamp", "when the change was recorded", unit="UTC", required=True),
        C(
            "sequence",
            "int64",
            "order among changes of the same instant; ties broken by the source's id",
            required=True,
            minimum=0,
        ),
        C("is_creation", "boolean", "the first known state, at creation", required=True),
        C("stage", "string", "stage after the change", null_means="no stage at that time"),
        C("state", "string", "state after the change", required=True, allowed=("open", "won", "lost")),
        C(
            "amount",
            "amount",
            "amount after the change",
            unit="currency",
            null_means="no amount at that time, or not versioned",
        ),
        C(
            "crm_close_date",
            "date",
            "expected close date after the change",
            null_means="none at that time, or not versioned",
        ),
        C(
            "crm_probability",
            "float64",
            "the CRM's own probability after the change",
            unit="0–1",
            null_means="none at that time, or not versioned",
            minimum=0,
            maximum=1,
        ),
        C("owner_id", "string", "owner after the change", null_means="none at that time, or not versioned"),
    ),
)

FIELD_HISTORY = Table(
    "field_history",
    "one row per field of opportunity_changes: whether the exports show its past values",
    ("field",),
    (
        C(
            "field",
            "string",
            "field of opportunity_changes",
            required=True,
            allowed=("stage", "amount", "crm_close_date", "crm_probability", "owner_id"),
        ),
        C("is_versioned", "boolean", "past values are known; where false only the last seen value is", required=True),
        C(
            "basis",
            "string",
            "history export, comparison of exports, or none",
            required=True,
            allowed=("history", "exports", "none"),
        ),
    ),
)

_ACTIVITY = (
    _SOURCE,
    C("activity_id", "string", "identifier of the activity", required=True),
    C("opportunity_id", "string", "opportunity it belongs to", null_means="not tied to an opportunity"),
    C("account_id", "string", "account it belongs to", null_means="not tied to an account"),
    C("contact_id", "string", "contact it was with", null_means="not recorded"),
    C("owner_id", "string", "who did or will do it", null_means="not recorded"),
    C("kind", "string", "what it is", required=True, allowed=("call", "email", "meeting", "task", "note", "other")),
    C(
        "direction",
        "string",
        "who spoke first",
        null_means="not recorded or not applicable",
        allowed=("inbound", "outbound"),
    ),
)

ACTIVITIES = Table(
    "activities",
    "one row per activity that was done",
    ("activity_id",),
    (
        *_ACTIVITY,
        C("occurred_at", "timestamp", "when it happened", unit="UTC", required=True),
        C(
            "logged_at",
            "timestamp",
            "when the CRM knew of it; features use the later of the two",
            unit="UTC",
            required=True,
        ),
        C(
            "queue_id",
            "string",
            "follow-up of follow_up_queue that it works",
            null_means="none, or the CRM's tasks carry no such id",
        ),
        *_LINEAGE,
    ),
)

PLANNED_ACTIVITIES = Table(
    "planned_activities",
    "one row per activity that is planned and not done",
    ("activity_id",),
    (
        *_ACTIVITY,
        C("due_at", "timestamp", "when it is due", unit="UTC", null_means="no due date"),
        C("logged_at", "timestamp", "when it was planned", unit="UTC", null_means=_NOT_RECORDED),
        C(
            "queue_id",
            "string",
            "follow-up of follow_up_queue that it works",
            null_means="none, or the CRM's tasks carry no such id",
        ),
        *_LINEAGE,
    ),
)

OPPORTUNITY_PRODUCTS = Table(
    "opportunity_products",
    "one row per line item",
    ("line_id",),
    (
        _SOURCE,
        C("line_id", "string", "identifier of the line item", required=True),
        C("opportunity_id", "string", "opportunity it belongs to", required=True),
        C("product_id", "string", "product", null_means=_NOT_RECORDED),
        C("quantity", "float64", "quantity", null_means=_NOT_RECORDED),
        C("total_price", "amount", "price of the line", unit="currency", null_means=_NOT_RECORDED),
        C("created_at", "timestamp", "when the line was added", unit="UTC", null_means=_NOT_RECORDED),
        *_LINEAGE,
    ),
)

QUOTAS = Table(
    "quotas",
    "one row per owner and period",
    ("owner_id", "period_start"),
    (
        _SOURCE,
        C("owner_id", "string", "owner", required=True),
        C("period_start", "date", "first day of the period", required=True),
        C("period_end", "date", "day after the last day of the period", required=True),
        C("amount", "amount", "quota", unit="currency", required=True),
        C("currency", "string", "ISO 4217 code", required=True),
        *_LINEAGE,
    ),
)

CASES = Table(
    "cases",
    "one row per service case or survey answer",
    ("case_id",),
    (
        _SOURCE,
        C("case_id", "string", "identifier of the case", required=True),
        C("account_id", "string", "account it concerns", null_means="not tied to an account"),
        C("opened_at", "timestamp", "when it was opened", unit="UTC", null_means=_NOT_RECORDED),
        C("closed_at", "timestamp", "when it was closed", unit="UTC", null_means="still open or not recorded"),
        C("score", "float64", "survey score", null_means="not a survey answer"),
        *_LINEAGE,
    ),
)

EXCHANGE_RATES = Table(
    "exchange_rates",
    "one row per currency and day from which the rate holds",
    ("currency", "valid_from"),
    (
        C("currency", "string", "ISO 4217 code", required=True),
        C("valid_from", "date", "first day the rate holds", required=True),
        C("rate", "float64", "units of this currency for one unit of the corporate currency", required=True, minimum=0),
        *_LINEAGE,
    ),
)

CANONICAL_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        ACCOUNTS,
        CONTACTS,
        OWNERS,
        PRODUCTS,
        OPPORTUNITIES,
        OPPORTUNITY_ATTRIBUTES,
        ATTRIBUTE_CHANGES,
        OPPORTUNITY_CHANGES,
        FIELD_HISTORY,
        ACTIVITIES,
        PLANNED_ACTIVITIES,
        OPPORTUNITY_PRODUCTS,
        QUOTAS,
        CASES,
        EXCHANGE_RATES,
    )
}
"""By name, in the order they are built."""
