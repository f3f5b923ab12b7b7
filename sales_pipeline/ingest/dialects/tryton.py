"""Tryton: CSV exports of its own (`/r/base/data/<model>`, or the client's export), headed by field labels or by field names.

Fields after Tryton 8.2's `sale_opportunity` and `party` modules. A path through records is one header (`Party/Code`). An opportunity is known by its
number, a party by its code; a seller by the code of the employee's party or, where no code was exported, by the name in `Employee`. A lead becomes an
opportunity by changing its state, so that both are one kind here, and the state is the stage: lead, opportunity, converted (to a quotation), won, lost,
cancelled. `End Date` is the expected closing day until the closing sets it to the day itself.

Tryton keeps the history of opportunities and shows it through exports as of an instant (context `_datetime`). Several such exports in one file named
`…history` are read as states since their last edit.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, Rule, Take, Words
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec

_STATE = ("State", "state")
_NUMBER = ("Number", "number")
_CREATED = ("Created at", "create_date")
_EDITED = ("Edited at", "write_date")
_PARTY = ("Party/Code", "party/code", "Party/ID", "party/id")
_EMPLOYEE = (
    "Employee/Party/Code",
    "employee/party/code",
    "Employee/ID",
    "employee/id",
    "Employee",
    "employee",
    "employee/rec_name",
)
# What our own deliveries wrote there must not come back as evidence, and what says the same as the state says nothing more.
_SYSTEM = frozenset(
    [
        "id",
        "recordname",
        "recname",
        "statestring",
        "statetranslated",
        "startdate",
        "createdbyuser",
        "createdby",
        "createuid",
        "editedbyuser",
        "editedby",
        "writeuid",
        "convertedby",
        "currency",
        "sales",
        "lines",
        "winprobability",
        "scoreband",
        "expectedvalue",
        "scoredat",
    ]
)
_PRIVATE = frozenset(
    [
        "reference",
        "description",
        "comment",
        "contact",
        "address",
        "lostreason",
        "reasonforloss",
        "party",
        "partyname",
        "partyrecname",
        "employee",
        "employeerecname",
        "employeepartyname",
    ]
)

_WHOLE_STATE: dict[str, Rule] = {
    "stage": Take(_STATE),
    "amount": Take(("Amount", "amount")),
    "crm_close_date": Take(("End Date", "end_date")),
    "crm_probability": Take(("Conversion Probability", "conversion_probability")),
    "owner_id": Take(_EMPLOYEE),
}


def _opportunities(created: tuple[str, ...], requires: tuple[str, ...] = ()) -> TableSpec:
    return TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_NUMBER),
            "kind": Constant("opportunity"),
            "account_id": Take(_PARTY),
            **_WHOLE_STATE,
            "is_won": Words(_STATE, ((r"^\s*won", "true"), (r"\S", "false"))),
            "is_closed": Words(_STATE, ((r"^\s*(won|lost|cancelled)", "true"), (r"\S", "false"))),
            "currency": Take(("Currency/Code", "currency/code")),
            "created_at": Take(created),
            # A record that was never edited holds its first state: the instant of that is when it was made.
            "modified_at": Take((*_EDITED, *_CREATED)),
        },
        objects=("saleopportunity", "saleopportunities", "opportunity", "opportunities", "leadsandopportunities"),
        requires=requires,
        required_columns=("opportunity_id", "stage"),
        system=_SYSTEM,
        private=_PRIVATE,
    )


_TABLES = (
    # When a record was made is an instant; the day people say the sale began (it may lie ahead) stands for it only where that was not exported.
    _opportunities(_CREATED, requires=("Created at",)),
    _opportunities(_CREATED, requires=("create_date",)),
    _opportunities(("Start Date", "start_date")),
    TableSpec(
        "state_history",
        {
            "opportunity_id": Take(_NUMBER),
            "changed_at": Take((*_EDITED, *_CREATED)),
            **_WHOLE_STATE,
        },
        objects=("saleopportunityhistory", "opportunityhistory"),
        required_columns=("opportunity_id", "changed_at", "stage"),
    ),
    TableSpec(
        "accounts",
        {
            "account_id": Take(("Code", "code")),
            "country": Take(("Addresses/Country/Code", "addresses/country/code")),
            "created_at": Take(_CREATED),
            "modified_at": Take(_EDITED),
        },
        objects=("party", "parties", "partyparty"),
        required_columns=("account_id",),
    ),
    TableSpec(
        "owners",
        {
            "owner_id": Take(("Party/Code", "party/code", "ID", "id")),
            "team": Take(("Company/Party/Code", "company/party/code")),
            "manager_id": Take(("Supervisor/Party/Code", "supervisor/party/code")),
            "is_active": Take(("Active", "active")),
            "modified_at": Take(_EDITED),
        },
        objects=("employee", "employees", "companyemployee"),
        required_columns=("owner_id",),
    ),
)

TRYTON = DialectSpec(
    _TABLES,
    hallmarks=(
        ("Number", "State", "Start Date"),
        ("Number", "State", "Conversion Probability"),
        ("number", "state", "conversion_probability"),
        ("number", "state", "start_date"),
    ),
)
"""The dialect."""
