"""Odoo 17 CRM: exports of its lists (crm.lead, res.partner, res.users, crm.stage, mail.activity), by field names or by labels.

`id` is a record's external id (`__export__.crm_lead_400_d478be1a`), `.id` its number in the database; a reference is written `user_id/id`,
`user_id/.id` or by display name. The external id is the key where the file has it, as its importer takes it back; numbers and unique display
names become external ids where the file of the records they name is exported too. Headers are compared as written: `id` is not `.id`.

A lead is won where its `won_status` or its stage says so, lost where it is archived with no chance left. Odoo's list export leaves archived records
out unless the filter for lost or archived ones is on. A customer is a partner, company or person: it is the account, and the contact.
The history of fields is mail.tracking.value, exported with its message's model, record and date: values stand in a column by their type.
An activity belongs to the record that `res_model` and `res_id` name; of other models than crm.lead and res.partner to none.
Odoo's CSV export puts an apostrophe before text that begins with = + or -, not before @. It is not stripped here: it may be data, and the xlsx
export has none. Amounts, dates and ids never begin so. Instants are UTC. Sources: Odoo 17's export code and the models' field labels.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, FirstOf, Lookup, Rule, Take, When, Words
from sales_pipeline.ingest.dialects.salesforce import FLAG, KIND
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec

_EXTERNAL, _NUMBER = ("id", "External ID"), (".id", "ID", "Database ID")
_ID = (*_EXTERNAL, *_NUMBER)
_NAME = ("name", "Name", "display_name", "Display Name", "complete_name", "Complete Name")
_CREATED = Take(("create_date", "Created on", "Creation Date"))
_MODIFIED = Take(("write_date", "Last Updated on", "Last Modified on"))
_ACTIVE = ("active", "Active")
_NOT_ACTIVE = Words(_ACTIVE, ((r"^\s*(false|0|no)\s*$", "true"), (r"\S", "false")))
_STATUS = ("won_status", "Is Won", "Won/Lost", "Won Status")
_STAGE_WON = ("stage_id/is_won", "Stage/Is Won Stage?", "Stage/Is Won Stage")
_SYSTEM = frozenset(
    [
        "dateopen",
        "assignmentdate",
        "datelaststageupdate",
        "laststageupdate",
        "dayopen",
        "daystoassign",
        "dayclose",
        "daystoclose",
        "daystoconvert",
        "daysexceedingclosing",
        "exceededclosingdays",
        "automatedprobability",
        "isautomatedprobability",
        "proratedrevenue",
        "recurringrevenuemonthlyprorated",
        "lostreason",
        "lostreasonid",
        "lostreasonidid",
        "color",
        "colorindex",
        "kanbanstate",
        "writedate",
        "lastupdatedon",
        "lastmodifiedon",
        "createuid",
        "createdby",
        "writeuid",
        "lastupdatedby",
        "activitystate",
        "activitydatedeadline",
        "nextactivitydeadline",
        "messageids",
        "activityids",
        "duplicateleadcount",
        "calendareventcount",
        "meetingdisplaydate",
        "activeid",
    ]
)
_PRIVATE = frozenset(
    [
        "name",
        "opportunity",
        "displayname",
        "description",
        "notes",
        "internalnotes",
        "contactname",
        "partnername",
        "companyname",
        "customer",
        "emailfrom",
        "emailcc",
        "function",
        "jobposition",
        "street",
        "zip",
        "website",
        "referred",
        "referredby",
        "leadproperties",
        "properties",
        "activitysummary",
        "salesperson",
    ]
)


def _of(field: str, label: str, table: str, names: tuple[str, ...] = _NAME, *, has_display_key: bool = True) -> FirstOf:
    """A reference: the external id, else what the number or a unique display name leads to, else the number, else the display name."""
    external, number = (f"{field}/id", f"{label}/External ID"), (f"{field}/.id", f"{label}/ID", f"{label}/Database ID")
    rules: list[Rule] = [
        Take(external),
        Lookup(number, table, _NUMBER, _EXTERNAL),
        Take(number),
        Lookup((field, label), table, names, _ID, is_unique=True),
    ]
    return FirstOf((*rules, Take((field, label))) if has_display_key else tuple(rules))


_OWNER = _of("user_id", "Salesperson", "owners")
_RES_MODEL = ("res_model", "Related Document Model", "res_model_id", "Document Model")
_RES_ID = ("res_id", "Related Document ID")
_RES_NAME = ("res_name", "Document Name")


def _document(model: str, table: str, names: tuple[str, ...]) -> When:
    """The record of one model that an activity is about, by number or by a name that one record alone bears."""
    rules = (
        Lookup(_RES_ID, table, _NUMBER, _EXTERNAL),
        Lookup(_RES_ID, table, _NUMBER, _NUMBER),
        Lookup(_RES_NAME, table, names, _ID, is_unique=True),
    )
    return When(_RES_MODEL, model, FirstOf(rules))


_FIELD = ("field_id/name", "field_id/id", "field_id", "Field/Field Name", "Field")
_TRACKED = (
    (r"stage", "stage"),
    (r"expected.revenue", "amount"),
    (r"date_deadline|expected closing", "crm_close_date"),
    (r"probability", "crm_probability"),
    (r"user_id|salesperson", "owner_id"),
)
_MESSAGE_MODEL = ("mail_message_id/model", "Message ID/Related Document Model")
_MESSAGE_RECORD = ("mail_message_id/res_id", "Message ID/Related Document ID")


def _tracked(which: str) -> FirstOf:
    """The value before or after a change: numbers and days have columns of their own, which hold zero or nothing for other fields."""
    field, label = f"{which.lower()}_value", f"{which} Value"
    text = (f"{field}_char", f"{label} Char")
    return FirstOf(
        (
            When(_FIELD, "expected.revenue|probability", Take((f"{field}_float", f"{label} Float"))),
            When(_FIELD, "date_deadline|expected closing", Take((f"{field}_datetime", f"{label} DateTime"))),
            When(_FIELD, "user_id|salesperson", Lookup(text, "owners", _NAME, _ID, is_unique=True)),
            Take(text),
        )
    )


_TABLES = (
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_ID),
            "kind": FirstOf((Words(("type", "Type"), ((r"^\s*lead", "lead"),)), Constant("opportunity"))),
            "pipeline": Take(("team_id/id", "team_id", "Sales Team", "Sales Team/External ID")),
            "account_id": _of("partner_id", "Customer", "accounts"),
            "contact_id": _of("partner_id", "Customer", "contacts", has_display_key=False),
            "owner_id": _OWNER,
            "stage": Take(("stage_id", "Stage", "stage_id/id", "Stage/External ID", "stage_id/.id", "Stage/ID")),
            "outcome": FirstOf(
                (
                    Words(
                        _STATUS, ((r"^\s*won", "won"), (r"^\s*lost", "lost"), (r"^\s*(pending|in progress)", "open"))
                    ),
                    Words(_STAGE_WON, ((r"^\s*(true|1|yes)\s*$", "won"),)),
                    Words(_ACTIVE, ((r"^\s*(false|0|no)\s*$", "lost"),)),
                )
            ),
            "is_won": FirstOf(
                (
                    Words(_STATUS, ((r"^\s*won", "true"), (r"^\s*(lost|pending|in progress)", "false"))),
                    Words(_STAGE_WON, FLAG),
                )
            ),
            "is_closed": FirstOf(
                (
                    Words(_STATUS, ((r"^\s*(won|lost)", "true"), (r"^\s*(pending|in progress)", "false"))),
                    _NOT_ACTIVE,
                )
            ),
            "currency": Take(("company_currency", "Currency", "company_currency/name", "Currency/Currency")),
            "amount": Take(("expected_revenue", "Expected Revenue")),
            "crm_close_date": Take(("date_deadline", "Expected Closing")),
            "crm_probability": Take(("probability", "Probability")),
            "lead_source": Take(("source_id", "Source", "source_id/id", "medium_id", "Medium")),
            "created_at": _CREATED,
            "closed_at": Take(("date_closed", "Closed Date")),
            "modified_at": _MODIFIED,
        },
        objects=("crmlead", "leadopportunitycrmlead", "leadcrmlead", "opportunitycrmlead"),
        required_columns=("opportunity_id", "stage", "created_at"),
        marks=(
            ("opportunity_id", "stage", "amount"),
            ("opportunity_id", "stage", "crm_probability"),
            ("stage", "amount", "crm_probability"),
        ),
        is_squashed=False,
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "stages",
        {
            "stage": Take(_ID),
            "label": Take((*_NAME, "Stage Name")),
            "is_won": Take(("is_won", "Is Won Stage?", "Is Won Stage")),
            "position": Take(("sequence", "Sequence")),
        },
        objects=("crmstage", "crmstagescrmstage", "stagecrmstage", "crmstages"),
        required_columns=("stage", "label", "is_won"),
        marks=(("stage", "label", "is_won"),),
        is_squashed=False,
    ),
    TableSpec(
        "activities",
        {
            "activity_id": Take(_ID),
            "opportunity_id": _document(
                r"^\s*(crm\.lead|lead|opportunity)", "opportunities", ("name", "Opportunity", "Name")
            ),
            "account_id": _document(r"^\s*(res\.partner|contact)", "accounts", _NAME),
            "owner_id": _of("user_id", "Assigned to", "owners"),
            "kind": FirstOf(
                (
                    Words(
                        ("activity_type_id", "Activity Type", "activity_type_id/id", "Activity Type/External ID"),
                        (*KIND, (r"to.?do|task|upload|document", "task")),
                    ),
                    Constant("other"),
                )
            ),
            "occurred_at": Take(("date_done", "Done Date", "date_deadline", "Due Date")),
            "due_at": Take(("date_deadline", "Due Date")),
            "logged_at": _CREATED,
            "is_done": FirstOf(
                (
                    Words(("state", "State"), ((r"^\s*done", "true"), (r"\S", "false"))),
                    _NOT_ACTIVE,
                    Constant("false"),
                )
            ),
            "modified_at": _MODIFIED,
        },
        objects=("mailactivity", "activitymailactivity", "activitiesmailactivity"),
        required_columns=("activity_id",),
        marks=(("activity_id", "due_at", "opportunity_id"), ("kind", "due_at", "owner_id", "opportunity_id")),
        is_squashed=False,
    ),
    TableSpec(
        "field_history",
        {
            "change_id": Take(_ID),
            "opportunity_id": When(
                _MESSAGE_MODEL,
                r"^\s*crm\.lead",
                FirstOf(
                    (
                        Lookup(_MESSAGE_RECORD, "opportunities", _NUMBER, _EXTERNAL),
                        Lookup(_MESSAGE_RECORD, "opportunities", _NUMBER, _NUMBER),
                    )
                ),
            ),
            "changed_at": Take(("mail_message_id/date", "Message ID/Date", "create_date", "Created on")),
            "field": FirstOf((Words(_FIELD, _TRACKED), Take(_FIELD))),
            "old_value": _tracked("Old"),
            "new_value": _tracked("New"),
        },
        objects=("mailtrackingvalue", "mailtrackingvaluemailtrackingvalue"),
        required_columns=("opportunity_id", "changed_at", "field", "new_value"),
        marks=(("opportunity_id", "changed_at", "field"),),
        is_squashed=False,
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(_ID),
            "industry": Take(("industry_id", "Industry")),
            "country": Take(("country_id/code", "country_id", "Country", "Country/Country Code")),
            "account_type": Words(
                ("is_company", "Is a Company"), ((r"^\s*(true|1|yes)", "company"), (r"^\s*(false|0|no)", "person"))
            ),
            "parent_account_id": _of("parent_id", "Related Company", "accounts", has_display_key=False),
            "owner_id": _OWNER,
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("respartner", "contactrespartner", "contactsrespartner"),
        required_columns=("account_id",),
        marks=(("account_id", "account_type"),),
        is_squashed=False,
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(_ID),
            "account_id": FirstOf((_of("parent_id", "Related Company", "accounts", has_display_key=False), Take(_ID))),
            "email_opt_out": Words(("is_blacklisted", "Blacklist", "Blacklisted"), FLAG),
            "do_not_call": Words(("phone_blacklisted", "Blacklisted Phone is Phone"), FLAG),
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("respartner", "contactrespartner", "contactsrespartner"),
        required_columns=("contact_id",),
        is_squashed=False,
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(_ID),
            "team": Take(("sale_team_id", "User Sales Team", "Sales Team", "crm_team_ids")),
            "is_active": FirstOf((Words(_ACTIVE, FLAG),)),
            "time_zone": Take(("tz", "Timezone")),
            "modified_at": _MODIFIED,
        },
        objects=("resusers", "userresusers", "usersresusers"),
        required_columns=("owner_id",),
        marks=(("owner_id", "team", "is_active"),),
        is_squashed=False,
    ),
)

ODOO = DialectSpec(
    _TABLES,
    hallmarks=(
        ("stage_id/id", "expected_revenue"),
        ("stage_id", "expected_revenue"),
        ("stage_id/.id", "expected_revenue"),
        ("External ID", "Expected Revenue", "Stage"),
        ("Expected Closing", "Expected Revenue", "Salesperson"),
        ("Opportunity", "Expected Revenue", "Expected Closing", "Stage"),
    ),
)
"""The dialect."""
