"""English headers by which the columns of a plain table are recognised, and words by which values are.

Belongs here: word lists for `guess`. Does not belong here: what a CRM's own exports call their columns (`dialects`).
"""

from __future__ import annotations

from sales_pipeline.ingest.dialects import chinese

FILE_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("dictionary", "readme", "glossary", "codebook")),
    ("owners", ("team", "user", "owner", "agent", "rep", "seller", "employee")),
    ("products", ("product", "item", "catalog")),
    ("accounts", ("account", "compan", "customer", "client", "organi")),
    ("contacts", ("contact", "person", "people")),
    ("activities", ("activit", "task", "call", "meeting", "event", "engagement")),
    ("opportunities", ("opportunit", "deal", "pipeline", "lead", "sale", "quote", "prospect")),
)
"""Table and the words in a file name that speak for it, the telling ones first; no table for files that are no data."""

HEADERS: dict[str, dict[str, tuple[str, ...]]] = {
    "opportunities": {
        "opportunity_id": (
            "opportunity id", "opportunity number", "opp id", "deal id", "lead id", "prospect id", "lead number", "deal number", "quote id",
            "record id", "id",
        ),
        "stage": ("stage", "deal stage", "sales stage", "stage name", "opportunity stage", "pipeline stage", "lead stage"),
        "account_id": ("account id", "account", "account name", "company", "company name", "customer", "customer id", "client", "organization"),
        "owner_id": ("owner id", "owner", "opportunity owner", "deal owner", "sales agent", "sales rep", "salesperson", "seller", "account executive", "assigned to"),
        "product_id": ("product id", "product", "product name", "main product"),
        "amount": ("amount", "deal value", "deal amount", "opportunity amount", "opportunity amount usd", "close value", "value", "deal size", "revenue", "total price"),
        "created_at": ("created at", "created date", "create date", "created on", "created", "creation date", "date created", "engage date", "opened date", "open date"),
        "closed_at": ("closed at", "closed date", "closed on", "actual close date", "date closed", "won date"),
        "crm_close_date": ("close date", "expected close date", "expected close", "estimated close date", "forecast close date"),
        "modified_at": ("modified at", "last modified", "last modified date", "modified date", "updated at", "last updated", "update time"),
        "crm_probability": ("probability", "probability percent", "win probability"),
        "lead_source": ("lead source", "source", "channel", "route to market", "lead origin"),
        "opportunity_type": ("opportunity type", "deal type", "type"),
        "currency": ("currency", "currency code", "currency iso code"),
        "contact_id": ("contact id", "contact", "primary contact"),
        "pipeline": ("pipeline", "sales process", "record type"),
    },
    "accounts": {
        "account_id": ("account id", "account", "account name", "company id", "company", "company name", "customer id", "customer", "client"),
        "industry": ("industry", "sector", "branch"),
        "employees": ("employees", "number of employees", "employee count", "headcount", "company size"),
        "annual_revenue": ("annual revenue", "revenue", "turnover"),
        "country": ("country", "office location", "location", "billing country"),
        "account_type": ("account type", "type", "segment"),
        "parent_account_id": ("parent account", "parent", "subsidiary of", "parent company"),
        "owner_id": ("owner id", "owner", "account owner"),
        "created_at": ("created at", "created date", "create date"),
    },
    "products": {
        "product_id": ("product id", "product", "product name", "sku"),
        "family": ("family", "series", "category", "product line", "product family"),
        "list_price": ("list price", "sales price", "price", "unit price"),
    },
    "owners": {
        "owner_id": ("owner id", "user id", "sales agent", "sales rep", "owner", "salesperson", "seller", "agent", "name", "id"),
        "team": ("team", "regional office", "region", "office", "department", "role"),
        "manager_id": ("manager id", "manager", "supervisor", "reports to"),
        "is_active": ("is active", "active"),
        "country": ("country", "country code"),
        "time_zone": ("time zone", "timezone"),
        "capacity_minutes": ("capacity minutes", "minutes per day"),
    },
    "contacts": {
        "contact_id": ("contact id", "id", "contact"),
        "account_id": ("account id", "account", "company id", "company"),
        "created_at": ("created at", "created date", "create date"),
    },
    "activities": {
        "activity_id": ("activity id", "task id", "event id", "call id", "id"),
        "opportunity_id": ("opportunity id", "deal id", "lead id"),
        "account_id": ("account id", "company id"),
        "contact_id": ("contact id",),
        "owner_id": ("owner id", "owner", "sales agent", "assigned to"),
        "kind": ("kind", "type", "activity type"),
        "direction": ("direction",),
        "occurred_at": ("occurred at", "date", "activity date", "completed at", "completed date", "timestamp"),
        "due_at": ("due at", "due date"),
        "logged_at": ("logged at", "created at", "created date"),
        "is_done": ("is done", "done", "completed"),
        "queue_id": ("queue id", "follow up id"),
    },
}  # fmt: skip
"""Per table and column the headers that mean it, the most telling first."""

KEYS = {"opportunities": "opportunity_id", "accounts": "account_id", "products": "product_id", "owners": "owner_id", "contacts": "contact_id", "activities": "activity_id"}  # fmt: skip
DATES = ("created_at", "closed_at", "crm_close_date", "modified_at", "occurred_at", "due_at", "logged_at")
NUMBERS = ("amount", "annual_revenue", "employees", "list_price", "crm_probability")

OUTCOME_HEADERS = (
    "opportunity result", "result", "outcome", "opportunity status", "deal status", "lead status", "status", "converted", "is won", "won", "closed won", "target", "win",
)  # fmt: skip
WON = r"^(closed[ -]*)?(won|win|converted|sold|success(ful)?)$|^closed[ -]*won\b|" + chinese.WON
LOST = (
    r"^(closed[ -]*)?(lost|loss|lose|dead|disqualified|abandoned|rejected|cancel+ed|not converted)$|^closed[ -]*(lost|not converted)\b|"
    + chinese.LOST
)
YES, NO = ("1", "true", "yes", "y"), ("0", "false", "no", "n")
PLACEHOLDERS = (
    "select",
    "n/a",
    "#n/a",
    "na",
    "-",
    "--",
    "?",
    "null",
    "nan",
    "(blank)",
    "not provided",
    "please select",
    "tbd",
)
DOUBTFUL = ("unknown", "none", "other", "999", "9999", "-1")
CURRENCIES = (
    ("USD", r"\busd\b|\$"),
    ("EUR", r"\beur\b|€"),
    ("GBP", r"\bgbp\b|£"),
    ("CHF", r"\bchf\b"),
    ("CNY", r"\bcny\b|\brmb\b|¥|人民币|\d\s*[百千]?[万萬亿億]|\d\s*元|[(（][百千]?[万亿]?元[)）]"),
)
