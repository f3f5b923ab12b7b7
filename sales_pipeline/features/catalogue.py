"""Every feature: its name (the column), family (the SQL model), type, unit, meaning, what it needs, and how a reason words it.

Belongs here: the declaration of features, and what follows from it alone (the wide table's contract). Does not belong here: their
computation (`sql/`), when they are absent in a data set (`build`), and whether they may be used (`leaks`). Texts name no people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sales_pipeline.contracts.model import Column, Table, Type

FeatureType = Literal["number", "category", "boolean"]

FAMILIES = (
    "state",
    "engagement",
    "planned",
    "owner_record",
    "account_record",
    "product",
    "season",
    "account_facts",
    "static",
)
"""Each is one SQL model `sql/<family>.sql` with one row per spine row."""

_COLUMN_TYPES: dict[str, Type] = {"number": "float64", "category": "string", "boolean": "boolean"}


@dataclass(frozen=True)
class Feature:
    """One feature.

    `needs` are tables (`activities`: it has rows), columns (`opportunities.amount`: some value is there) or histories
    (`history.amount`: past values of that field are known); where one is missing the feature is absent by name.
    `state_field` is the field of field_history it rests on; where that is not versioned the feature shows the last seen value and
    is judged by the leak ledger. `is_last_seen` says that it always rests on facts the CRM shows only as last seen.
    `at_creation` says that it means something where the only landmark is the creation instant.
    `up_text` and `down_text` word a reason; `{value}` stands for the formatted value. `missing_text` is used where it is NULL.
    """

    name: str
    family: str
    type: FeatureType
    unit: str
    meaning: str
    needs: tuple[str, ...]
    up_text: str
    down_text: str
    missing_text: str
    state_field: str | None = None
    is_last_seen: bool = False
    at_creation: bool = False

    def text(self, value: str | None, *, is_up: bool) -> str:
        """The wording of a reason for one formatted value; None where the feature is NULL."""
        if value is None:
            return self.missing_text
        return (self.up_text if is_up else self.down_text).replace("{value}", value)


def _state(
    name: str,
    unit: str,
    meaning: str,
    up: str,
    down: str,
    missing: str,
    *needs: str,
    field: str | None = None,
    type: FeatureType = "number",
    at_creation: bool = False,
) -> Feature:
    return Feature(name, "state", type, unit, meaning, needs, up, down, missing, field, False, at_creation)


def _activity(name: str, unit: str, meaning: str, up: str, down: str, missing: str = "no activity recorded") -> Feature:
    return Feature(name, "engagement", "number", unit, meaning, ("activities",), up, down, missing)


def _counted(kind: str, noun: str, days: int | None) -> Feature:
    """A count of activities of one kind or direction in a window before the as-of."""
    suffix, window = (f"_{days}d", f"in the last {days} days") if days else ("", "so far")
    return _activity(
        f"{kind}_count{suffix}",
        "activities",
        f"{noun} {window}",
        f"{{value}} {noun} {window}",
        f"only {{value}} {noun} {window}",
    )


def _record(
    family: str,
    name: str,
    unit: str,
    meaning: str,
    up: str,
    down: str,
    missing: str,
    needs: tuple[str, ...],
    *,
    type: FeatureType = "number",
    field: str | None = None,
    is_last_seen: bool = False,
    at_creation: bool = True,
) -> Feature:
    """A record of closed opportunities before the as-of."""
    return Feature(name, family, type, unit, meaning, needs, up, down, missing, field, is_last_seen, at_creation)


def _fact(
    family: str, name: str, unit: str, meaning: str, label: str, need: str, type: FeatureType = "category"
) -> Feature:
    text = f"{label}: {{value}}"
    return Feature(
        name,
        family,
        type,
        unit,
        meaning,
        (need,),
        text,
        text,
        f"{label}: not recorded",
        is_last_seen=True,
        at_creation=True,
    )


_CREATED = "opportunities.created_at"
_CLOSED = "opportunities.closed_at"
_CLOSE_DATE = "opportunities.crm_close_date"

FEATURES: tuple[Feature, ...] = (
    # state
    _state(
        "stage",
        "",
        "stage",
        "stage: {value}",
        "stage: {value}",
        "no stage",
        "opportunities.stage",
        field="stage",
        type="category",
    ),
    _state(
        "days_in_stage",
        "days",
        "days since it entered its stage",
        "{value} days in its stage",
        "{value} days in its stage",
        "time in stage not known",
        "history.stage",
        field="stage",
    ),
    _state(
        "age_days",
        "days",
        "days since creation",
        "open for {value} days",
        "open for {value} days",
        "creation not recorded",
        _CREATED,
    ),
    _state(
        "days_to_crm_close_date",
        "days",
        "days until the CRM's close date; negative when it has passed",
        "{value} days to the close date",
        "{value} days to the close date",
        "no close date",
        _CLOSE_DATE,
        field="crm_close_date",
        at_creation=True,
    ),
    _state(
        "is_past_crm_close_date",
        "",
        "the CRM's close date has passed",
        "close date passed: {value}",
        "close date passed: {value}",
        "no close date",
        _CLOSE_DATE,
        field="crm_close_date",
        type="boolean",
    ),
    _state(
        "planned_cycle_days",
        "days",
        "days from creation to the CRM's close date",
        "planned to close {value} days after creation",
        "planned to close {value} days after creation",
        "no close date",
        _CREATED,
        _CLOSE_DATE,
        field="crm_close_date",
        at_creation=True,
    ),
    _state(
        "stage_move_count",
        "moves",
        "changes of stage so far",
        "{value} stage moves so far",
        "{value} stage moves so far",
        "no history",
        "history.stage",
        field="stage",
    ),
    _state(
        "stage_return_count",
        "moves",
        "moves to a stage it had been in before",
        "went back to an earlier stage {value} times",
        "went back to an earlier stage {value} times",
        "no history",
        "history.stage",
        field="stage",
    ),
    _state(
        "stage_count",
        "stages",
        "different stages it has been in",
        "has been in {value} stages",
        "has been in {value} stages",
        "no history",
        "history.stage",
        field="stage",
    ),
    _state(
        "reopened_count",
        "times",
        "times it was reopened after closing",
        "reopened {value} times",
        "reopened {value} times",
        "no history",
        "history.stage",
        field="stage",
    ),
    _state(
        "close_date_push_count",
        "pushes",
        "times the close date was moved to a later day",
        "close date pushed {value} times",
        "close date pushed {value} times",
        "no history",
        "history.crm_close_date",
        field="crm_close_date",
    ),
    _state(
        "pushed_days_total",
        "days",
        "days the close date was pushed in all",
        "close date pushed by {value} days in all",
        "close date pushed by {value} days in all",
        "no history",
        "history.crm_close_date",
        field="crm_close_date",
    ),
    _state(
        "amount",
        "currency",
        "amount",
        "amount: {value}",
        "amount: {value}",
        "no amount",
        "opportunities.amount",
        field="amount",
        at_creation=True,
    ),
    _state(
        "amount_change_count",
        "changes",
        "changes from one amount to another",
        "amount changed {value} times",
        "amount changed {value} times",
        "no history",
        "history.amount",
        field="amount",
    ),
    _state(
        "amount_change_ratio",
        "ratio",
        "amount over the first amount recorded",
        "amount is {value} times the first one",
        "amount is {value} times the first one",
        "no first amount",
        "history.amount",
        field="amount",
    ),
    _state(
        "owner_change_count",
        "changes",
        "changes from one owner to another",
        "owner changed {value} times",
        "owner changed {value} times",
        "no history",
        "history.owner_id",
        field="owner_id",
    ),
    _state(
        "days_since_last_change",
        "days",
        "days since a tracked field last changed",
        "record last changed {value} days ago",
        "record last changed {value} days ago",
        "no change recorded",
        "history.stage",
        field="stage",
    ),
    _state(
        "crm_probability",
        "0–1",
        "the CRM's own probability",
        "CRM probability: {value}",
        "CRM probability: {value}",
        "no CRM probability",
        "opportunities.crm_probability",
        field="crm_probability",
    ),
    # engagement
    *(_counted("activity", "activities", days) for days in (7, 30, 90, None)),
    _activity(
        "activity_trend_30d",
        "activities",
        "activities in the last 30 days less those in the 30 days before",
        "activity against the month before: {value}",
        "activity against the month before: {value}",
    ),
    *(_counted("call", "calls", days) for days in (30, 90)),
    *(_counted("email", "e-mails", days) for days in (30, 90)),
    *(_counted("meeting", "meetings", days) for days in (30, 90, None)),
    *(_counted("inbound", "messages from the customer", days) for days in (7, 30, 90, None)),
    *(_counted("outbound", "messages to the customer", days) for days in (30, 90)),
    _activity(
        "inbound_response_ratio",
        "ratio",
        "messages from the customer over messages to the customer, last 90 days",
        "{value} customer messages for each of ours",
        "only {value} customer messages for each of ours",
        "nothing sent to the customer in 90 days",
    ),
    _activity(
        "contact_count",
        "contacts",
        "different contacts it was talked about with",
        "{value} contacts involved",
        "only {value} contacts involved",
    ),
    _activity(
        "days_since_last_activity",
        "days",
        "days since the last activity",
        "last activity {value} days ago",
        "no activity for {value} days",
    ),
    _activity(
        "days_since_last_inbound",
        "days",
        "days since the customer was last in touch",
        "customer in touch {value} days ago",
        "no reply from the customer for {value} days",
        "no message from the customer so far",
    ),
    _activity(
        "days_since_last_outbound",
        "days",
        "days since we were last in touch",
        "we were in touch {value} days ago",
        "not contacted for {value} days",
        "not contacted so far",
    ),
    _activity(
        "days_since_last_meeting",
        "days",
        "days since the last meeting",
        "met {value} days ago",
        "no meeting for {value} days",
        "no meeting so far",
    ),
    Feature(
        "planned_activity_count",
        "planned",
        "number",
        "activities",
        "activities planned by then and still to come",
        ("planned_activities.logged_at",),
        "{value} next steps planned",
        "{value} next steps planned",
        "no next step known",
    ),
    Feature(
        "days_to_next_planned_activity",
        "planned",
        "number",
        "days",
        "days until the next planned activity",
        ("planned_activities.logged_at",),
        "next step planned in {value} days",
        "next step planned in {value} days",
        "no next step planned",
    ),
    # records of owner, account, product
    _record(
        "owner_record",
        "owner_win_rate",
        "0–1",
        "share won of what the owner had closed, shrunken to the overall share",
        "owner's win rate: {value}",
        "owner's win rate: {value}",
        "no record of the owner",
        ("opportunities.owner_id", _CLOSED),
        field="owner_id",
    ),
    _record(
        "owner_record",
        "owner_closed_count",
        "opportunities",
        "opportunities the owner had closed",
        "owner has closed {value} opportunities",
        "owner has closed {value} opportunities",
        "no record of the owner",
        ("opportunities.owner_id", _CLOSED),
        field="owner_id",
    ),
    _record(
        "owner_record",
        "owner_open_count",
        "opportunities",
        "opportunities the owner has open, this one included",
        "owner has {value} opportunities open",
        "owner has {value} opportunities open",
        "no record of the owner",
        ("opportunities.owner_id", _CREATED),
        field="owner_id",
    ),
    _fact("owner_record", "owner_team", "", "team of the owner, as last seen", "team", "owners.team"),
    _record(
        "account_record",
        "account_win_rate",
        "0–1",
        "share won of what was closed with the account, shrunken to the overall share",
        "win rate with this account: {value}",
        "win rate with this account: {value}",
        "no account",
        ("opportunities.account_id", _CLOSED),
        is_last_seen=True,
    ),
    _record(
        "account_record",
        "account_closed_count",
        "opportunities",
        "opportunities closed with the account before",
        "{value} opportunities closed with this account before",
        "{value} opportunities closed with this account before",
        "no account",
        ("opportunities.account_id", _CLOSED),
        is_last_seen=True,
    ),
    _record(
        "account_record",
        "account_won_count",
        "opportunities",
        "opportunities won with the account before",
        "{value} opportunities won with this account before",
        "{value} opportunities won with this account before",
        "no account",
        ("opportunities.account_id", _CLOSED),
        is_last_seen=True,
    ),
    _record(
        "account_record",
        "account_won_amount",
        "currency",
        "amount won with the account before, in the opportunity's currency",
        "{value} won with this account before",
        "{value} won with this account before",
        "no account",
        ("opportunities.account_id", _CLOSED, "opportunities.amount"),
        is_last_seen=True,
    ),
    _record(
        "account_record",
        "account_days_since_last_won",
        "days",
        "days since the account's last win",
        "last win with this account {value} days ago",
        "no win with this account for {value} days",
        "no win with this account so far",
        ("opportunities.account_id", _CLOSED),
        is_last_seen=True,
    ),
    _record(
        "account_record",
        "account_open_count",
        "opportunities",
        "opportunities open with the account, this one included",
        "{value} opportunities open with this account",
        "{value} opportunities open with this account",
        "no account",
        ("opportunities.account_id", _CREATED),
        is_last_seen=True,
    ),
    _fact("product", "product", "", "main product", "product", "opportunities.product_id"),
    _fact("product", "product_family", "", "family of the main product", "product family", "products.family"),
    _fact(
        "product",
        "product_list_price",
        "currency",
        "list price of the main product",
        "list price",
        "products.list_price",
        "number",
    ),
    _record(
        "product",
        "product_win_rate",
        "0–1",
        "share won of what was closed with the product, shrunken to the overall share",
        "win rate of this product: {value}",
        "win rate of this product: {value}",
        "no product",
        ("opportunities.product_id", _CLOSED),
        is_last_seen=True,
    ),
    # season
    *(
        Feature(name, "season", "number", unit, meaning, needs, text, text, missing, field)
        for name, unit, meaning, needs, text, missing, field in (
            ("as_of_month", "1–12", "month of the as-of", (), "month: {value}", "", None),
            ("as_of_quarter", "1–4", "quarter of the as-of", (), "quarter: {value}", "", None),
            (
                "days_to_quarter_end",
                "days",
                "days from the as-of to the end of its quarter",
                (),
                "{value} days to the end of the quarter",
                "",
                None,
            ),
            (
                "close_date_month",
                "1–12",
                "month of the CRM's close date",
                (_CLOSE_DATE,),
                "close date in month {value}",
                "no close date",
                "crm_close_date",
            ),
            (
                "close_date_days_to_quarter_end",
                "days",
                "days from the CRM's close date to the end of its quarter",
                (_CLOSE_DATE,),
                "close date {value} days before the end of a quarter",
                "no close date",
                "crm_close_date",
            ),
        )
    ),
    # account facts
    _fact(
        "account_facts", "account_industry", "", "branch of industry of the account", "industry", "accounts.industry"
    ),
    _fact(
        "account_facts",
        "account_employees_log",
        "ln(1+n)",
        "employees of the account",
        "employees (log)",
        "accounts.employees",
        "number",
    ),
    _fact(
        "account_facts",
        "account_revenue_log",
        "ln(1+x)",
        "annual revenue of the account",
        "annual revenue (log)",
        "accounts.annual_revenue",
        "number",
    ),
    _fact("account_facts", "account_country", "", "country of the account", "country", "accounts.country"),
    _fact("account_facts", "account_type", "", "customer, prospect, partner…", "account type", "accounts.account_type"),
    _fact(
        "account_facts",
        "account_has_parent",
        "",
        "the account belongs to another",
        "belongs to a group",
        "accounts.parent_account_id",
        "boolean",
    ),
    _record(
        "account_facts",
        "account_age_days",
        "days",
        "days since the account was created",
        "account known for {value} days",
        "account known for {value} days",
        "creation of the account not recorded",
        ("accounts.created_at",),
        is_last_seen=True,
    ),
    # static
    _fact("static", "kind", "", "opportunity or lead", "kind", "opportunities.kind"),
    _fact("static", "pipeline", "", "sales process", "pipeline", "opportunities.pipeline"),
    _fact("static", "currency", "", "currency", "currency", "opportunities.currency"),
    _fact("static", "lead_source", "", "where it came from", "source", "opportunities.lead_source"),
    _fact("static", "opportunity_type", "", "new business, renewal…", "type", "opportunities.opportunity_type"),
    _fact(
        "static",
        "is_from_lead",
        "",
        "converted from a lead",
        "converted from a lead",
        "opportunities.converted_from_lead_id",
        "boolean",
    ),
    _record(
        "static",
        "created_month",
        "1–12",
        "month of creation",
        "created in month {value}",
        "created in month {value}",
        "creation not recorded",
        (_CREATED,),
    ),
)
"""In order of the families; names are unique."""

BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}

FEATURE_TABLE = Table(
    "features",
    "one row per spine row: every feature of the catalogue, as known strictly before the as-of",
    ("opportunity_id", "as_of"),
    (
        Column("opportunity_id", "string", "opportunity", required=True),
        Column("as_of", "timestamp", "the instant the row holds for", unit="UTC", required=True),
        *(
            Column(
                feature.name,
                _COLUMN_TYPES[feature.type],
                feature.meaning,
                unit=feature.unit,
                null_means=feature.missing_text or "the feature is absent in this data set",
            )
            for feature in FEATURES
        ),
    ),
)
"""The wide table; an absent feature is a column of NULLs."""
