"""Dynamics 365 Sales: the static worksheets and CSV files that its views export, under the display names of columns.

Every such file begins with three hidden columns: `(Do Not Modify) Opportunity` (the record's GUID), `(Do Not Modify) Row Checksum` and `(Do Not
Modify) Modified On`. Files are named after views, so they are recognised by these columns. Lookup columns (Owner, Potential Customer, Regarding)
hold display names. Where the file of the records they name is exported too, a name that one record alone bears becomes that record's GUID. Else
owners and accounts go by their display name, which is then the only key the export has; a contact is left out, as its name is a person's.
What an activity regards is found by the title of an opportunity or lead and the name of an account: where several bear it, by none.

The amount is the estimated revenue, for closed ones too: the actual revenue of a lost opportunity is zero, which would tell the outcome.
An audit history (columns as the vendor names them in its audit table) is read where it names the field and both values; `Record Id` is there
the id of the change. Sources: Microsoft's documentation of export to Excel, of the audit table and of the opportunity, lead and activity tables.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, FirstOf, Lookup, Rule, Take, Translate, Words
from sales_pipeline.ingest.dialects.salesforce import DIRECTION, KIND
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec


def key(entity: str, *others: str) -> tuple[str, ...]:
    """The hidden column with an entity's GUID, and other headers under which tools write it."""
    return (f"(Do Not Modify) {entity}", *others)


_OPPORTUNITY, _LEAD = key("Opportunity", "Opportunity Id", "opportunityid"), key("Lead", "Lead Id", "leadid")
_ACCOUNT, _CONTACT = key("Account", "Account Id", "accountid"), key("Contact", "Contact Id", "contactid")
_USER = key("User", "User Id", "systemuserid")
_FULL_NAME = ("Full Name", "Name")
_CREATED = Take(("Created On",))
_MODIFIED = Take(("(Do Not Modify) Modified On", "Modified On"))

CURRENCY = (
    ("US Dollar", "USD"),
    ("Euro", "EUR"),
    ("Pound Sterling", "GBP"),
    ("UK Pound Sterling", "GBP"),
    ("Swiss Franc", "CHF"),
    ("Japanese Yen", "JPY"),
    ("Yen", "JPY"),
    ("Yuan Renminbi", "CNY"),
    ("Chinese Yuan", "CNY"),
    ("Canadian Dollar", "CAD"),
    ("Australian Dollar", "AUD"),
    ("Indian Rupee", "INR"),
)
"""Currencies by the name a Dynamics organisation usually gives them; others need `mapping.synonyms` or the mapping's currency."""

_SYSTEM = frozenset(
    [
        "donotmodifyrowchecksum",
        "donotmodifymodifiedon",
        "rowchecksum",
        "modifiedon",
        "modifiedby",
        "modifiedbydelegate",
        "createdby",
        "createdbydelegate",
        "recordcreatedon",
        "actualrevenue",
        "actualrevenuebase",
        "actualclosedate",
        "estrevenuebase",
        "estimatedrevenuebase",
        "exchangerate",
        "forecastcategory",
        "opportunityscore",
        "opportunityscoretrend",
        "opportunitygrade",
        "leadscore",
        "leadscoretrend",
        "leadgrade",
        "lastonholdtime",
        "onholdtimeminutes",
        "lastslaapplied",
        "lastcampaigndate",
        "timespentbymeonemailandmeetings",
        "traversedpath",
        "weightedrevenue",
        "statusreason",
        "versionnumber",
    ]
)
_PRIVATE = frozenset(
    [
        "topic",
        "name",
        "description",
        "potentialcustomer",
        "contact",
        "companyname",
        "jobtitle",
        "originatinglead",
        "currentsituation",
        "customerneed",
        "customerpainpoints",
        "proposedsolution",
        "qualificationcomments",
        "quotecomments",
        "businessphone",
        "website",
        "subject",
        "owner",
    ]
)


def _user(headers: tuple[str, ...]) -> Lookup:
    return Lookup(headers, "owners", _FULL_NAME, _USER, is_unique=True)


def _account(headers: tuple[str, ...]) -> Lookup:
    return Lookup(headers, "accounts", ("Account Name", "Name"), _ACCOUNT, is_unique=True)


def _contact(headers: tuple[str, ...]) -> Lookup:
    return Lookup(headers, "contacts", _FULL_NAME, _CONTACT, is_unique=True)


def _regarded(headers: tuple[str, ...]) -> tuple[Rule, ...]:
    """The opportunity, else the lead, of that title."""
    return tuple(
        Lookup(headers, "opportunities", ("Topic", *more), of, is_unique=True)
        for of, more in ((_OPPORTUNITY, ()), (_LEAD, _FULL_NAME))
    )


_OWNER = FirstOf((Take(("Owner Id", "ownerid")), _user(("Owner",)), Take(("Owner",))))
_CUSTOMER = ("Account", "Potential Customer", "Company Name")
_OF_ACCOUNT = FirstOf((_account(_CUSTOMER), Take(("Account",)), Take(("Potential Customer",))))


def _status(*words: tuple[str, str], otherwise: str | None = None) -> Words:
    return Words(("Status", "Status Reason"), words, otherwise)


_ACTIVITY_KIND = (*KIND, (r"\btask\b", "task"))


def _activity(own: tuple[str, ...], kind: Rule) -> dict[str, Rule]:
    """Columns of activities. One that was cancelled is neither done nor planned: it is kept out as deleted ones are."""
    return {
        "activity_id": Take(own),
        "opportunity_id": FirstOf((Take(("Regarding Id", "regardingobjectid")), *_regarded(("Regarding",)))),
        "account_id": _account(("Regarding",)),
        "contact_id": _contact(("Regarding",)),
        "owner_id": _OWNER,
        "kind": kind,
        "direction": Words(("Direction",), DIRECTION),
        "occurred_at": Take(
            ("Actual End", "Date Completed", "Date Sent", "Start Date", "Start Time", "Due Date", "End Time")
        ),
        "due_at": Take(("Due Date", "Start Date", "Start Time")),
        "logged_at": _CREATED,
        "is_done": Words(
            ("Activity Status", "Status Reason", "Status"),
            ((r"^\s*(completed|closed|sent|received|made|held)", "true"), (r"\S", "false")),
        ),
        "queue_id": Take(("Follow-Up Key", "Queue Id", "Follow Up Id")),
        "modified_at": _MODIFIED,
        "is_deleted": Words(("Activity Status", "Status Reason", "Status"), ((r"^\s*cancell?ed", "true"),)),
    }


_SINGLE = (("Phone Call", "call"), ("Email", "email"), ("Appointment", "meeting"), ("Task", "task"))

_TABLES = (
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_LEAD),
            "kind": Constant("lead"),
            "owner_id": _OWNER,
            "stage": Take(("Status",)),
            "outcome": _status(("^qualified", "won"), ("^disqualified", "lost"), (r"\S", "open")),
            "is_won": _status(("^qualified", "true"), (r"\S", "false")),
            "is_closed": _status((r"^(dis)?qualified", "true"), (r"\S", "false")),
            "currency": Translate(("Currency Code", "Currency"), CURRENCY),
            "amount": Take(("Est. Value", "Est. Revenue")),
            "crm_close_date": Take(("Est. Close Date", "Estimated Close Date")),
            "lead_source": Take(("Lead Source", "Source Campaign")),
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("lead", "leads", "allleads", "openleads", "myopenleads"),
        required_columns=("opportunity_id", "created_at", "is_won"),
        marks=(("opportunity_id",),),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_OPPORTUNITY),
            "kind": Constant("opportunity"),
            "account_id": _OF_ACCOUNT,
            "contact_id": _contact(("Contact", "Potential Customer")),
            "owner_id": _OWNER,
            "stage": Take(("Pipeline Phase", "Sales Stage", "Process Stage")),
            "outcome": _status(("^won", "won"), (r"^(lost|cancell?ed|out-?sold)", "lost"), (r"\S", "open")),
            "is_won": _status(("^won", "true"), (r"\S", "false")),
            "is_closed": _status((r"^(won|lost|cancell?ed|out-?sold)", "true"), (r"\S", "false")),
            "currency": Translate(("Currency Code", "Currency"), CURRENCY),
            "amount": Take(("Est. Revenue", "Estimated Revenue")),
            "crm_close_date": Take(("Est. Close Date", "Estimated Close Date")),
            "crm_probability": Take(("Probability",)),
            "lead_source": Take(("Lead Source", "Source Campaign")),
            "opportunity_type": Take(("Opportunity Type", "Type")),
            "created_at": _CREATED,
            "closed_at": Take(("Actual Close Date",)),
            "modified_at": _MODIFIED,
            "converted_from_lead_id": Lookup(
                ("Originating Lead",), "opportunities", ("Full Name", "Name", "Topic"), _LEAD, is_unique=True
            ),
        },
        objects=("opportunity", "opportunities", "allopportunities", "openopportunities", "myopenopportunities"),
        required_columns=("opportunity_id", "created_at", "is_won"),
        marks=(("opportunity_id", "is_won"), ("crm_close_date", "is_won"), ("stage", "amount", "is_won")),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(_ACCOUNT),
            "industry": Take(("Industry",)),
            "employees": Take(("Number of Employees", "No. of Employees")),
            "annual_revenue": Take(("Annual Revenue",)),
            "country": Take(("Address 1: Country/Region", "Country/Region", "Country")),
            "account_type": Take(("Relationship Type", "Category")),
            "parent_account_id": _account(("Parent Account",)),
            "owner_id": _OWNER,
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("account", "accounts", "activeaccounts", "myactiveaccounts"),
        required_columns=("account_id",),
        marks=(("account_id",),),
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(_CONTACT),
            "account_id": FirstOf((_account(("Company Name", "Account")), Take(("Company Name", "Account")))),
            "email_opt_out": Words(
                ("Do not allow Emails", "Email"),
                ((r"^do not allow|^yes|^true", "true"), (r"^allow|^no|^false", "false")),
            ),
            "do_not_call": Words(
                ("Do not allow Phone Calls", "Phone"),
                ((r"^do not allow|^yes|^true", "true"), (r"^allow|^no|^false", "false")),
            ),
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("contact", "contacts", "activecontacts", "myactivecontacts"),
        required_columns=("contact_id",),
        marks=(("contact_id",),),
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(_USER),
            "team": Take(("Business Unit", "Site")),
            "manager_id": _user(("Manager",)),
            "is_active": Words(("Status",), ((r"^(enabled|active)", "true"), (r"\S", "false"))),
            "country": Take(("Country/Region",)),
            "modified_at": _MODIFIED,
        },
        objects=("user", "users", "enabledusers"),
        required_columns=("owner_id",),
        marks=(("owner_id",),),
    ),
    TableSpec(
        "activities",
        _activity(
            key("Activity", "Activity Id", "activityid"),
            FirstOf((Words(("Activity Type",), _ACTIVITY_KIND), Constant("other"))),
        ),
        objects=("activity", "activities", "allactivities", "myactivities"),
        required_columns=("activity_id",),
        marks=(("activity_id",),),
    ),
    *(
        TableSpec(
            "activities",
            _activity(key(entity), Constant(kind)),
            required_columns=("activity_id",),
            marks=(("activity_id", "kind"),),
        )
        for entity, kind in _SINGLE
    ),
    TableSpec(
        "products",
        {
            "product_id": Take(key("Product", "Product ID")),
            "family": Take(("Product Family", "Parent")),
            "list_price": Take(("List Price",)),
            "modified_at": _MODIFIED,
        },
        required_columns=("product_id",),
        marks=(("product_id", "modified_at"),),
    ),
    TableSpec(
        "field_history",
        {
            "change_id": Take(("Record Id", "auditid", "(Do Not Modify) Auditing")),
            "opportunity_id": FirstOf((Take(("Object Id", "objectid")), *_regarded(("Record",)))),
            "changed_at": Take(("Changed Date",)),
            "field": Translate(
                ("Changed Field",),
                (
                    ("Pipeline Phase", "stage"),
                    ("Sales Stage", "stage"),
                    ("stepname", "stage"),
                    ("Est. Revenue", "amount"),
                    ("estimatedvalue", "amount"),
                    ("Est. Close Date", "crm_close_date"),
                    ("estimatedclosedate", "crm_close_date"),
                    ("Probability", "crm_probability"),
                    ("closeprobability", "crm_probability"),
                    ("Owner", "owner_id"),
                    ("ownerid", "owner_id"),
                ),
            ),
            "old_value": FirstOf((_user(("Old Value",)), Take(("Old Value",)))),
            "new_value": FirstOf((_user(("New Value",)), Take(("New Value",)))),
        },
        objects=("audithistory", "auditsummary"),
        required_columns=("opportunity_id", "changed_at", "field", "new_value"),
        marks=(("changed_at", "field", "new_value"),),
    ),
)

DYNAMICS = DialectSpec(
    _TABLES,
    hallmarks=(
        ("(Do Not Modify) Opportunity", "(Do Not Modify) Row Checksum"),
        ("(Do Not Modify) Lead", "(Do Not Modify) Row Checksum"),
        ("(Do Not Modify) Opportunity", "Topic"),
        ("Topic", "Est. Close Date", "Est. Revenue"),
    ),
)
"""The dialect."""
