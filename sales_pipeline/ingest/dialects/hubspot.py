"""HubSpot: exports from its own pages (column labels, which users may rename) and replicas (property names).

A deal stage's probability belongs to the stage, not to the deal. Associations stand in files of their own or in label columns that
list ids; an engagement of several deals counts for the one with the smallest id.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, FirstOf, Lookup, Past, Rule, Take, Translate, Words
from sales_pipeline.ingest.dialects.salesforce import DIRECTION, KIND
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec

_DEAL = ("Record ID", "deal_id", "hs_object_id")
_DELETED = Take(("is_deleted", "_fivetran_deleted", "archived"))
_CREATED = ("Create Date", "property_createdate", "property_hs_createdate", "createdate", "created_at")
_MODIFIED = Take(("Last Modified Date", "property_hs_lastmodifieddate", "hs_lastmodifieddate", "updated_at"))
_COMPLETED = ((r"^\s*completed", "true"), (r"\S", "false"))
_SYSTEM = frozenset(
    [
        "portalid",
        "propertyportalid",
        "lastactivitydate",
        "nextactivitydate",
        "numberoftimescontacted",
        "numberofsalesactivities",
        "weightedamount",
        "forecastamount",
        "forecastprobability",
        "daystoclose",
        "propertydaystoclose",
        "propertyhsforecastamount",
        "propertyhsprojectedamount",
        "propertyhslastmodifieddate",
        "lastmodifieddate",
        "lastcontacted",
        "propertynoteslastcontacted",
        "propertynoteslastupdated",
        "propertynumcontactednotes",
        "propertynumnotes",
        "amountincompanycurrency",
        "propertyamountinhomecurrency",
        "closedlostreasonupdated",
        "associatedcompany",
        "associatedcontact",
        "associateddeal",
        "associatednoteids",
        "associatednote",
    ]
)
_PRIVATE = frozenset(
    [
        "dealname",
        "propertydealname",
        "dealdescription",
        "propertydescription",
        "description",
        "nextstep",
        "propertyhsnextstep",
        "notes",
    ]
)


def _engagement(kind: str | None, is_done: Rule) -> dict[str, Rule]:
    by = ("engagement_id", "Record ID", "id")
    return {
        "activity_id": Take(by),
        "opportunity_id": FirstOf(
            (
                Take(("Associated Deal IDs",), is_list=True),
                Lookup(by, "engagementdeal", ("engagement_id",), ("deal_id",)),
            )
        ),
        "account_id": FirstOf(
            (
                Take(("Associated Company IDs",), is_list=True),
                Lookup(by, "engagementcompany", ("engagement_id",), ("company_id",)),
            )
        ),
        "contact_id": FirstOf(
            (
                Take(("Associated Contact IDs",), is_list=True),
                Lookup(by, "engagementcontact", ("engagement_id",), ("contact_id",)),
            )
        ),
        "owner_id": Take(("property_hubspot_owner_id", "hubspot_owner_id", "Activity assigned to", "owner_id")),
        "kind": Constant(kind)
        if kind
        else FirstOf((Words(("Activity type", "type", "engagement_type"), KIND), Constant("other"))),
        "direction": Words(
            (
                "property_hs_email_direction",
                "property_hs_call_direction",
                "Direction",
                "Email direction",
                "Call direction",
            ),
            ((r"incoming|inbound", "inbound"), (r"outgoing|outbound|^email$", "outbound"), *DIRECTION),
        ),
        "occurred_at": Take(("start_time", "property_hs_meeting_start_time", "property_hs_timestamp", "Activity date")),
        "due_at": Take(("Due date", "property_hs_timestamp", "start_time")),
        "logged_at": Take(_CREATED),
        "is_done": is_done,
        "queue_id": Take(("Follow-Up Key", "property_follow_up_key", "follow_up_key")),
        "modified_at": _MODIFIED,
        "is_deleted": _DELETED,
    }


_TABLES = (
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_DEAL),
            "kind": Constant("opportunity"),
            "pipeline": Take(("Pipeline", "deal_pipeline_id", "property_pipeline")),
            "account_id": FirstOf(
                (
                    Take(("Associated Company IDs", "Primary Associated Company ID"), is_list=True),
                    Lookup(_DEAL, "dealcompany", ("deal_id",), ("company_id",)),
                )
            ),
            "contact_id": FirstOf(
                (
                    Take(("Associated Contact IDs",), is_list=True),
                    Lookup(_DEAL, "dealcontact", ("deal_id",), ("contact_id",)),
                )
            ),
            "owner_id": Take(("owner_id", "Deal owner", "property_hubspot_owner_id", "hubspot_owner_id")),
            "product_id": Take(("Associated Product IDs",), is_list=True),
            "stage": Take(("Deal Stage", "deal_pipeline_stage_id", "property_dealstage", "dealstage")),
            "is_won": Take(("Is Closed Won", "property_hs_is_closed_won")),
            "is_closed": Take(("Is Deal Closed?", "property_hs_is_closed")),
            "currency": Take(("Currency", "property_deal_currency_code")),
            "amount": Take(("Amount", "property_amount")),
            "crm_close_date": Take(("Close Date", "property_closedate", "closedate")),
            "crm_probability": Take(("Deal probability", "property_hs_deal_stage_probability")),
            "lead_source": Take(("Original Source Type", "property_hs_analytics_source", "Original Traffic Source")),
            "opportunity_type": Take(("Deal Type", "property_dealtype")),
            "created_at": Take(_CREATED),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("deal", "deals"),
        required_columns=("opportunity_id", "stage"),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(("Record ID", "id", "company_id")),
            "industry": Take(("Industry", "property_industry")),
            "employees": Take(("Number of Employees", "property_numberofemployees")),
            "annual_revenue": Take(("Annual Revenue", "property_annualrevenue")),
            "country": Take(("Country/Region", "Country", "property_country")),
            "account_type": Take(("Type", "property_type")),
            "parent_account_id": Take(("Parent Company IDs", "property_hs_parent_company_id"), is_list=True),
            "owner_id": Take(("Company owner", "property_hubspot_owner_id")),
            "created_at": Take(_CREATED),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("company", "companies"),
        required_columns=("account_id",),
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(("Record ID", "id", "contact_id")),
            "account_id": Take(
                ("Associated Company IDs", "Primary Associated Company ID", "property_associatedcompanyid"),
                is_list=True,
            ),
            "email_opt_out": Take(("Unsubscribed from all email", "property_hs_email_optout")),
            "created_at": Take((*_CREATED, "property_created_at")),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("contact", "contacts"),
        required_columns=("contact_id",),
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(("owner_id", "Record ID", "id")),
            "team": Lookup(("owner_id", "id"), "ownerteam", ("owner_id",), ("team_id",)),
            "is_active": Take(("is_active", "active")),
            "modified_at": Take(("updated_at",)),
        },
        objects=("owner", "owners"),
        required_columns=("owner_id",),
    ),
    TableSpec(
        "stages",
        {
            "pipeline": Take(("pipeline_id",)),
            "stage": Take(("stage_id",)),
            "label": Take(("label",)),
            "is_closed": Take(("is_closed",)),
            "is_won": Take(("closed_won", "is_won")),
            "position": Take(("display_order",)),
            "probability": Take(("probability",)),
        },
        objects=("dealpipelinestage", "dealstages"),
        required_columns=("stage",),
    ),
    TableSpec(
        "state_history",
        {
            "opportunity_id": Take(("deal_id",)),
            "changed_at": Take(("date_entered", "_fivetran_start")),
            "stage": Take(("value", "stage_id")),
        },
        objects=("dealstage", "dealstagehistory"),
        requires=("deal_id",),
        required_columns=("opportunity_id", "changed_at", "stage"),
    ),
    TableSpec(
        "field_history",
        {
            "opportunity_id": Take(("deal_id",)),
            "changed_at": Take(("timestamp",)),
            "field": Translate(
                ("name", "property"),
                (
                    ("dealstage", "stage"),
                    ("amount", "amount"),
                    ("closedate", "crm_close_date"),
                    ("hs_deal_stage_probability", "crm_probability"),
                    ("hubspot_owner_id", "owner_id"),
                ),
            ),
            "new_value": Take(("value",)),
        },
        objects=("dealpropertyhistory",),
        required_columns=("opportunity_id", "changed_at", "field"),
    ),
    *(
        TableSpec("activities", _engagement(kind, done), objects=objects, required_columns=("activity_id",))
        for kind, done, objects in (
            ("call", Constant("true"), ("engagementcall", "call", "calls")),
            ("email", Constant("true"), ("engagementemail", "emails")),
            ("note", Constant("true"), ("engagementnote", "note", "notes")),
            ("other", Constant("true"), ("engagementcommunication", "communications")),
            (
                "meeting",
                Past(("start_time", "property_hs_meeting_start_time", "property_hs_timestamp", "Activity date")),
                ("engagementmeeting", "meeting", "meetings"),
            ),
            (
                "task",
                Words(("property_hs_task_status", "Task status", "status"), _COMPLETED, otherwise="false"),
                ("engagementtask", "task", "tasks"),
            ),
        )
    ),
    TableSpec(
        "opportunity_products",
        {
            "line_id": Take(("Record ID", "id", "line_item_id")),
            "opportunity_id": FirstOf(
                (
                    Take(("Associated Deal IDs",), is_list=True),
                    Lookup(("id", "line_item_id"), "lineitemdeal", ("line_item_id",), ("deal_id",)),
                )
            ),
            "product_id": Take(("Product ID", "product_id", "property_hs_product_id")),
            "quantity": Take(("Quantity", "property_quantity")),
            "total_price": Take(("Net price", "Amount", "property_amount")),
            "created_at": Take(_CREATED),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("lineitem", "lineitems"),
        required_columns=("line_id",),
    ),
    TableSpec(
        "cases",
        {
            "case_id": Take(("Record ID", "id", "ticket_id")),
            "account_id": FirstOf(
                (
                    Take(("Associated Company IDs",), is_list=True),
                    Lookup(("id",), "ticketcompany", ("ticket_id",), ("company_id",)),
                )
            ),
            "opened_at": Take(_CREATED),
            "closed_at": Take(("Close date", "property_closed_date")),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("ticket", "tickets"),
        required_columns=("case_id",),
    ),
)

HUBSPOT = DialectSpec(
    _TABLES,
    lookups=(
        "engagementdeal", "engagementcompany", "engagementcontact", "dealcompany", "dealcontact", "ownerteam", "lineitemdeal", "ticketcompany",
    ),
    hallmarks=(("Record ID", "Deal Stage"), ("Record ID", "Deal Name"), ("deal_id", "deal_pipeline_stage_id"), ("deal_id", "property_dealstage")),
)  # fmt: skip
"""The dialect."""
