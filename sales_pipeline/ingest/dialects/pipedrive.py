"""Pipedrive: a change log of deals (field, new value, time), or its own list exports (`Deal - ID`, `Deal - Stage`…).

The change log is a field history. Where it comes without a list of deals, each deal's record is what its log says last.
"""

from __future__ import annotations

from pathlib import Path

from sales_pipeline.ingest.columns import Constant, FirstOf, Take, Translate, Words
from sales_pipeline.ingest.dialects.salesforce import KIND
from sales_pipeline.ingest.dialects.spec import Derived, DialectSpec, TableSpec

_ACTIVITY_KIND = (*KIND, (r"follow.?up|^sc_|after.?close", "call"), (r"lunch", "meeting"), (r"deadline|task", "task"))
_PRIVATE = frozenset(
    [
        "dealtitle",
        "title",
        "dealorganization",
        "dealcontactperson",
        "organization",
        "contactperson",
        "name",
        "personname",
        "orgname",
    ]
)
_SYSTEM = frozenset(
    [
        "dealupdatetime",
        "updatetime",
        "dealweightedvalue",
        "weightedvalue",
        "dealnextactivitydate",
        "nextactivitydate",
        "deallastactivitydate",
        "lastactivitydate",
        "dealtotalactivities",
        "totalactivities",
        "dealdoneactivities",
        "doneactivities",
        "dealactivitiestodo",
        "activitiestodo",
        "deallaststagechange",
        "laststagechange",
        "dealemailmessagescount",
        "emailmessagescount",
    ]
)

_TABLES = (
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(("Deal - ID", "ID", "deal_id")),
            "kind": Constant("opportunity"),
            "pipeline": Take(("Deal - Pipeline", "Pipeline", "pipeline_id")),
            "account_id": Take(("Deal - Organization ID", "Organization ID", "org_id")),
            "contact_id": Take(("Deal - Contact person ID", "Contact person ID", "person_id")),
            "owner_id": Take(("Deal - Owner ID", "user_id", "owner_id", "Deal - Owner", "Owner")),
            "stage": Take(("Deal - Stage", "Stage", "stage_id")),
            "outcome": Take(("Deal - Status", "Status")),
            "is_won": Words(("Deal - Status", "Status"), ((r"^\s*won", "true"), (r"\S", "false"))),
            "is_closed": Words(("Deal - Status", "Status"), ((r"^\s*(won|lost)", "true"), (r"\S", "false"))),
            "currency": Take(("Deal - Currency of Value", "Currency of Value", "Currency")),
            "amount": Take(("Deal - Value", "Value")),
            "crm_close_date": Take(("Deal - Expected close date", "Expected close date", "expected_close_date")),
            "crm_probability": Take(("Deal - Probability", "Probability")),
            "lead_source": Take(("Deal - Source channel", "Source channel", "Deal - Source origin", "Source origin")),
            "created_at": Take(("Deal - Deal created", "Deal created", "add_time")),
            "closed_at": Take(
                (
                    "Deal - Deal closed on",
                    "Deal - Won time",
                    "Deal - Lost time",
                    "Deal closed on",
                    "close_time",
                    "won_time",
                    "lost_time",
                )
            ),
            "modified_at": Take(("Deal - Update time", "Update time", "update_time")),
        },
        objects=("deal", "deals"),
        required_columns=("opportunity_id", "stage"),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "field_history",
        {
            "opportunity_id": Take(("deal_id", "item_id")),
            "changed_at": Take(("change_time", "log_time", "timestamp")),
            "field": Translate(
                ("changed_field_key", "field_key"),
                (
                    ("stage_id", "stage"),
                    ("value", "amount"),
                    ("expected_close_date", "crm_close_date"),
                    ("probability", "crm_probability"),
                    ("user_id", "owner_id"),
                    ("owner_id", "owner_id"),
                ),
            ),
            "old_value": Take(("old_value",)),
            "new_value": Take(("new_value",)),
        },
        objects=("dealchanges", "dealchange", "dealflow"),
        required_columns=("opportunity_id", "changed_at", "field"),
    ),
    TableSpec(
        "activities",
        {
            "activity_id": Take(("activity_id", "Activity - ID", "ID")),
            "opportunity_id": Take(("deal_id", "Activity - Deal ID")),
            "account_id": Take(("org_id", "Activity - Organization ID")),
            "contact_id": Take(("person_id", "Activity - Contact person ID")),
            "owner_id": Take(("assigned_to_user", "user_id", "owner_id", "Activity - Assigned to user")),
            "kind": FirstOf(
                (Words(("type", "Activity - Type", "Activity - Subject"), _ACTIVITY_KIND), Constant("other"))
            ),
            "occurred_at": Take(
                ("marked_as_done_time", "Activity - Marked as done time", "due_to", "due_date", "Activity - Due date")
            ),
            "due_at": Take(("due_to", "due_date", "Activity - Due date")),
            "logged_at": Take(("add_time", "Activity - Add time")),
            "is_done": Words(
                ("done", "Activity - Done", "status"), ((r"^\s*(true|1|yes|done)", "true"), (r"\S", "false"))
            ),
            "queue_id": Take(("Activity - Follow-Up Key", "Follow-Up Key", "follow_up_key")),
            "modified_at": Take(("update_time", "Activity - Update time")),
        },
        objects=("activity", "activities"),
        required_columns=("activity_id",),
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(("id", "user_id")),
            "is_active": Take(("active_flag", "active")),
            "modified_at": Take(("modified",)),
        },
        objects=("user", "users"),
        required_columns=("owner_id",),
    ),
    TableSpec(
        "stages",
        {
            "pipeline": Take(("pipeline_id",)),
            "stage": Take(("stage_id", "id")),
            "label": Take(("stage_name", "name")),
            "position": Take(("order_nr", "stage_id")),
            "probability": Take(("deal_probability",)),
        },
        objects=("stage", "stages"),
        required_columns=("stage",),
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(("Organization - ID", "ID", "org_id")),
            "owner_id": Take(("Organization - Owner ID", "owner_id")),
            "industry": Take(("Organization - Industry", "industry")),
            "country": Take(("Organization - Country of Address", "address_country")),
            "employees": Take(("Organization - Number of employees", "employee_count")),
            "created_at": Take(("Organization - Organization created", "add_time")),
            "modified_at": Take(("Organization - Update time", "update_time")),
        },
        objects=("organization", "organizations"),
        required_columns=("account_id",),
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(("Person - ID", "ID", "person_id")),
            "account_id": Take(("Person - Organization ID", "org_id")),
            "created_at": Take(("Person - Person created", "add_time")),
            "modified_at": Take(("Person - Update time", "update_time")),
        },
        objects=("person", "persons", "people"),
        required_columns=("contact_id",),
    ),
)

PIPEDRIVE = DialectSpec(
    _TABLES,
    derived=(
        Derived("opportunities", "field_history", Path(__file__).parent.parent / "sql" / "pipedrive_opportunities.sql"),
    ),
    hallmarks=(("changed_field_key",), ("Deal - ID",), ("Deal - Stage",)),
)
"""The dialect."""
