"""Salesforce: the weekly Data Export, Data Loader CSVs, and replicas with snake_case headers.

Objects and fields after the vendor's object reference; what of it was seen in which file stands in docs. Fields that show the record
as of the export (forecast category, last activity, fiscal period) are not attributes: history tells them, or nothing does.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, FirstOf, Lookup, Past, Rule, Take, Translate, Words
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec

KIND = (
    (r"call|phone|anruf", "call"),
    (r"e-?mail", "email"),
    (r"meet|event|demo|visit|appointment|termin", "meeting"),
    (r"\bnote", "note"),
    (r"to.?do", "task"),
)
DIRECTION = ((r"inbound|incoming|received", "inbound"), (r"outbound|outgoing|\bsent\b", "outbound"))
FLAG = ((r"^\s*(true|1|yes|t|y)\s*$", "true"), (r"^\s*(false|0|no|f|n)\s*$", "false"))
_DONE = ((r"^\s*(completed|done|closed|held)", "true"), (r"\S", "false"))

_MODIFIED = Take(("SystemModstamp", "LastModifiedDate"))
_DELETED = Take(("IsDeleted", "_fivetran_deleted"))
_SYSTEM = frozenset(
    """expectedrevenue forecastcategory forecastcategoryname fiscal fiscalquarter fiscalyear fiscalperiod hasopenactivity
    hasoverduetask hasopportunitylineitem lastactivitydate lastreferenceddate lastvieweddate createdbyid lastmodifiedbyid
    systemmodstamp lastmodifieddate pricebookid pricebook2id lastamountchangedhistoryid lastclosedatechangedhistoryid
    totalopportunityquantity isexcludedfromterritory2filter territory2id territoryid syncedquoteid isprivate pushcount laststagechangedate
    masterrecordid connectionreceivedid connectionsentid activitymetricid lastactivityindays lastcalldatetime lastemaildatetime
    lasttransferdate isunreadbyowner convertedaccountid convertedcontactid converteddate geocodeaccuracy jigsaw jigsawcontactid
    individualid emailbounceddate emailbouncedreason currencyisocode contractid""".split()
)
_PRIVATE = frozenset(
    """name description nextstep firstname lastname middlename suffix salutation company title email phone mobilephone fax homephone
    otherphone street city state statecode postalcode latitude longitude address website photourl pronouns genderidentity""".split()
)

_ACTIVITY: dict[str, Rule] = {
    "activity_id": Take(("Id",)),
    "opportunity_id": Take(("WhatId",)),
    "account_id": Take(("AccountId",)),
    "contact_id": Take(("WhoId",)),
    "owner_id": Take(("OwnerId",)),
    "direction": Words(("CallType", "TaskSubtype", "Subject"), DIRECTION),
    "logged_at": Take(("CreatedDate",)),
    "modified_at": _MODIFIED,
    "is_deleted": _DELETED,
}
_STATE: dict[str, Rule] = {
    "stage": Take(("StageName",)),
    "amount": Take(("Amount",)),
    "crm_close_date": Take(("CloseDate",)),
    "crm_probability": Take(("Probability",)),
}

_TABLES = (
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(("Id",)),
            "kind": Constant("opportunity"),
            "pipeline": Take(("RecordTypeId",)),
            "account_id": Take(("AccountId",)),
            "contact_id": Take(("ContactId",)),
            "owner_id": Take(("OwnerId",)),
            **_STATE,
            "is_won": Take(("IsWon",)),
            "is_closed": Take(("IsClosed",)),
            "currency": Take(("CurrencyIsoCode",)),
            "lead_source": Take(("LeadSource",)),
            "opportunity_type": Take(("Type",)),
            "created_at": Take(("CreatedDate",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("opportunity", "opportunities"),
        requires=("Id",),
        required_columns=("opportunity_id", "stage", "crm_close_date", "created_at"),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(("Id",)),
            "kind": Constant("lead"),
            "account_id": Take(("ConvertedAccountId",)),
            "contact_id": Take(("ConvertedContactId",)),
            "owner_id": Take(("OwnerId",)),
            "stage": Take(("Status",)),
            "is_won": Take(("IsConverted",)),
            "currency": Take(("CurrencyIsoCode",)),
            "lead_source": Take(("LeadSource",)),
            "created_at": Take(("CreatedDate",)),
            "closed_at": Take(("ConvertedDate",)),
            "modified_at": _MODIFIED,
            "converted_to_opportunity_id": Take(("ConvertedOpportunityId",)),
            "is_deleted": _DELETED,
        },
        objects=("lead", "leads"),
        requires=("Id",),
        required_columns=("opportunity_id", "stage"),
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(("Id",)),
            "industry": Take(("Industry",)),
            "employees": Take(("NumberOfEmployees",)),
            "annual_revenue": Take(("AnnualRevenue",)),
            "country": Take(("BillingCountry", "BillingCountryCode")),
            "account_type": Take(("Type",)),
            "parent_account_id": Take(("ParentId",)),
            "owner_id": Take(("OwnerId",)),
            "created_at": Take(("CreatedDate",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("account", "accounts"),
        requires=("Id",),
        required_columns=("account_id",),
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(("Id",)),
            "account_id": Take(("AccountId",)),
            "email_opt_out": Take(("HasOptedOutOfEmail",)),
            "do_not_call": Take(("DoNotCall",)),
            "created_at": Take(("CreatedDate",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("contact", "contacts"),
        requires=("Id",),
        required_columns=("contact_id",),
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(("Id",)),
            "team": FirstOf(
                (Lookup(("UserRoleId",), "userrole", ("Id",), ("Name", "DeveloperName")), Take(("Department", "Division")))
            ),
            "manager_id": Take(("ManagerId",)),
            "is_active": Take(("IsActive",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("user", "users"),
        requires=("Id",),
        required_columns=("owner_id",),
    ),
    TableSpec(
        "products",
        {
            "product_id": Take(("Id",)),
            "family": Take(("Family",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("product2", "product", "products"),
        requires=("Id",),
        required_columns=("product_id",),
    ),
    TableSpec(
        "stages",
        {
            "stage": Take(("MasterLabel", "ApiName")),
            "label": Take(("MasterLabel",)),
            "is_closed": Take(("IsClosed",)),
            "is_won": Take(("IsWon",)),
            "position": Take(("SortOrder",)),
            "probability": Take(("DefaultProbability",)),
        },
        objects=("opportunitystage", "opportunitystages"),
        requires=("IsClosed",),
    ),
    TableSpec(
        "state_history",
        {
            "change_id": Take(("Id",)),
            "opportunity_id": Take(("OpportunityId",)),
            "changed_at": Take(("CreatedDate",)),
            **_STATE,
            "is_deleted": _DELETED,
        },
        objects=("opportunityhistory",),
        requires=("OpportunityId",),
        required_columns=("opportunity_id", "changed_at"),
    ),
    TableSpec(
        "state_history",
        {
            "opportunity_id": Take(("id",)),
            "changed_at": Take(("_fivetran_start",)),
            **_STATE,
            "owner_id": Take(("owner_id",)),
            "is_deleted": _DELETED,
        },
        objects=("opportunityhistory",),
        requires=("id", "_fivetran_start"),
        required_columns=("opportunity_id", "changed_at"),
    ),
    TableSpec(
        "field_history",
        {
            "change_id": Take(("Id",)),
            "opportunity_id": Take(("OpportunityId",)),
            "changed_at": Take(("CreatedDate",)),
            "field": Translate(
                ("Field",),
                (
                    ("StageName", "stage"),
                    ("Amount", "amount"),
                    ("CloseDate", "crm_close_date"),
                    ("Probability", "crm_probability"),
                    ("Owner", "owner_id"),
                    ("OwnerId", "owner_id"),
                ),
            ),
            "old_value": Take(("OldValue",)),
            "new_value": Take(("NewValue",)),
            "is_deleted": _DELETED,
        },
        objects=("opportunityfieldhistory",),
        requires=("OpportunityId", "Field"),
        required_columns=("opportunity_id", "changed_at", "field"),
    ),
    TableSpec(
        "activities",
        {
            **_ACTIVITY,
            "kind": FirstOf((Words(("TaskSubtype", "Type", "Subject"), KIND), Constant("task"))),
            "occurred_at": Take(("CompletedDateTime", "ActivityDateTime", "ActivityDate")),
            "due_at": Take(("ActivityDate",)),
            "is_done": FirstOf((Words(("IsClosed",), FLAG), Words(("Status",), _DONE))),
        },
        objects=("task", "tasks"),
        requires=("Id",),
        required_columns=("activity_id",),
    ),
    TableSpec(
        "activities",
        {
            **_ACTIVITY,
            "kind": Constant("meeting"),
            "occurred_at": Take(("StartDateTime", "ActivityDateTime", "ActivityDate")),
            "due_at": Take(("StartDateTime", "ActivityDateTime", "ActivityDate")),
            "is_done": Past(("StartDateTime", "ActivityDateTime", "ActivityDate")),
        },
        objects=("event", "events"),
        requires=("Id",),
        required_columns=("activity_id",),
    ),
    TableSpec(
        "opportunity_products",
        {
            "line_id": Take(("Id",)),
            "opportunity_id": Take(("OpportunityId",)),
            "product_id": Take(("Product2Id", "ProductId")),
            "quantity": Take(("Quantity",)),
            "total_price": Take(("TotalPrice",)),
            "created_at": Take(("CreatedDate",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("opportunitylineitem", "opportunitylineitems"),
        requires=("Id",),
        required_columns=("line_id", "opportunity_id"),
    ),
    TableSpec(
        "quotas",
        {
            "owner_id": Take(("QuotaOwnerId",)),
            "period_start": Take(("StartDate",)),
            "amount": Take(("QuotaAmount",)),
            "currency": Take(("CurrencyIsoCode",)),
        },
        objects=("forecastingquota",),
        requires=("QuotaOwnerId",),
        required_columns=("owner_id", "period_start", "amount"),
    ),
    TableSpec(
        "cases",
        {
            "case_id": Take(("Id",)),
            "account_id": Take(("AccountId",)),
            "opened_at": Take(("CreatedDate",)),
            "closed_at": Take(("ClosedDate",)),
            "modified_at": _MODIFIED,
            "is_deleted": _DELETED,
        },
        objects=("case", "cases"),
        requires=("Id",),
        required_columns=("case_id",),
    ),
    TableSpec(
        "exchange_rates",
        {
            "currency": Take(("IsoCode",)),
            "valid_from": FirstOf((Take(("StartDate",)), Constant("1970-01-01"))),
            "rate": Take(("ConversionRate",)),
        },
        objects=("datedconversionrate", "currencytype"),
        requires=("IsoCode",),
        required_columns=("currency", "rate"),
    ),
)

SALESFORCE = DialectSpec(_TABLES, lookups=("userrole",))
"""The dialect."""
