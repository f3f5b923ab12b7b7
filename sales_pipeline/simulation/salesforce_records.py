"""A simulated world's people and things as the tables of a Salesforce org: users, accounts, contacts, products, leads.

Everything text, before any dirt. Opportunities and what hangs on them are `salesforce_opportunities`'.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation import vocabulary as voc
from sales_pipeline.simulation.dynamics import CLOSED_WON
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.world import World

_ACCOUNT_TYPES = ("Prospect", "Customer - Direct")
_LEAD_STATES = ("Open - Not Contacted", "Working - Contacted", "Closed - Not Converted", "Closed - Converted")


class Keys:
    """The ids of a world's records by object, made once: position in the world's arrays -> 18-character id."""

    def __init__(self, world: World) -> None:
        people = world.population
        self.users = make_ids("User", np.arange(len(people.sellers.team)))
        self.accounts = make_ids("Account", np.arange(len(people.accounts.owner)))
        self.contacts = make_ids("Contact", np.arange(len(people.contacts.account)))
        self.products = make_ids("Product2", np.arange(len(voc.PRODUCTS)))
        self.opportunities = make_ids("Opportunity", np.arange(len(people.opportunities.account)))


def users(world: World, keys: Keys) -> pa.Table:
    """One row per user. `Department` is the team; some sellers have left (`IsActive` 0) and still own opportunities."""
    sellers = world.population.sellers
    count = len(sellers.team)
    number = np.arange(count)
    role = np.where(number < sellers.seller_count, 0, np.where(number == sellers.desk, 1, 2))
    role[-1] = 3
    title = col.labels(("Account Executive", "Inside Sales", "Sales Manager", "Sales Director"), role)
    since = np.full(count, (world.calendar.first_day - 400) * 86_400)
    return col.table(
        {
            "Id": keys.users,
            "Username": col.codes("seller", number, 3, "@example.org"),
            "Name": col.codes("Seller ", number, 3),
            "Email": col.codes("seller", number, 3, "@example.org"),
            "Department": col.labels(voc.TEAMS, sellers.team),
            "Title": title,
            "UserType": col.constant("Standard", count),
            "TimeZoneSidKey": col.constant("GMT", count),
            "IsActive": col.flags(sellers.is_active),
            "ManagerId": col.pick(keys.users, sellers.manager),
            "CreatedDate": col.instants(since),
            "LastModifiedDate": col.instants(since),
            "SystemModstamp": col.instants(since),
        }
    )


def products(world: World, keys: Keys) -> pa.Table:
    """One row per product."""
    count = len(voc.PRODUCTS)
    since = np.full(count, (world.calendar.first_day - 400) * 86_400)
    return col.table(
        {
            "Id": keys.products,
            "Name": col.labels(voc.names(voc.PRODUCTS), np.arange(count)),
            "ProductCode": col.codes("P-", np.arange(count), 3),
            "Family": col.labels(("Core", "Core", "Core", "Add-on", "Add-on", "Core"), np.arange(count)),
            "IsActive": col.constant("1", count),
            "IsDeleted": col.constant("0", count),
            "CreatedDate": col.instants(since),
            "LastModifiedDate": col.instants(since),
            "SystemModstamp": col.instants(since),
        }
    )


def accounts(world: World, keys: Keys) -> pa.Table:
    """One row per account. `Type` turns to customer with the first win: as of the export, a trap for a model of the past."""
    data = world.population.accounts
    count = len(data.owner)
    number = np.arange(count)
    won = np.zeros(count, dtype=np.int64)
    won[world.population.opportunities.account[world.is_closed & (world.final_stage == CLOSED_WON)]] = 1
    changed_at = np.maximum(data.created_at, world.calendar.first_day * 86_400 + 40_000 + 977 * number % 2_000_000)
    return col.table(
        {
            "Id": keys.accounts,
            "IsDeleted": col.constant("0", count),
            "Name": col.codes("Account ", number, 5),
            "Type": col.labels(_ACCOUNT_TYPES, won),
            "Industry": col.labels(voc.names(voc.INDUSTRIES), data.industry),
            "NumberOfEmployees": col.integers(data.employees),
            "AnnualRevenue": col.amounts(data.revenue),
            "BillingCountry": col.labels(voc.names(voc.COUNTRIES), data.country),
            "OwnerId": col.pick(keys.users, data.owner),
            "CreatedDate": col.instants(data.created_at),
            "LastModifiedDate": col.instants(changed_at),
            "SystemModstamp": col.instants(changed_at),
        }
    )


def contacts(world: World, keys: Keys) -> pa.Table:
    """One row per contact. Names are codes, addresses lie in example.org."""
    data = world.population.contacts
    count = len(data.account)
    number = np.arange(count)
    created_at = world.population.accounts.created_at[data.account] + 3_600
    return col.table(
        {
            "Id": keys.contacts,
            "IsDeleted": col.constant("0", count),
            "AccountId": col.pick(keys.accounts, data.account),
            "LastName": col.codes("Contact ", number, 5),
            "Email": col.codes("contact", number, 5, "@example.org"),
            "HasOptedOutOfEmail": col.flags(data.has_opted_out),
            "DoNotCall": col.flags(data.do_not_call),
            "OwnerId": col.pick(keys.users, world.population.accounts.owner[data.account]),
            "CreatedDate": col.instants(created_at),
            "LastModifiedDate": col.instants(created_at),
            "SystemModstamp": col.instants(created_at),
        }
    )


def leads(world: World, keys: Keys, rng: Generator) -> pa.Table:
    """Leads that became opportunities (`from_lead`), and three times as many that did not."""
    data, accounts_ = world.population.opportunities, world.population.accounts
    converted = np.flatnonzero(data.from_lead)
    lonely = 3 * len(converted) + 3
    count = len(converted) + lonely
    is_converted = np.arange(count) < len(converted)
    link = np.where(is_converted, np.resize(converted, count) if len(converted) else -1, -1)
    account = np.where(is_converted, data.account[link], rng.integers(0, len(accounts_.owner), count))
    start, days = world.calendar.first_day * 86_400, 7 * world.calendar.week_count - 12
    created_at = np.where(
        is_converted,
        data.created_at[link] - 86_400 * rng.integers(1, 30, count),
        start + 86_400 * rng.integers(0, days, count) + 36_000,
    )
    changed_at = np.where(is_converted, data.created_at[link], created_at + 86_400 * rng.integers(0, 10, count))
    status = np.where(is_converted, 3, rng.integers(0, 3, count))
    order = np.lexsort((link, created_at))
    number = np.empty(count, dtype=np.int64)
    number[order] = np.arange(count)
    unordered = col.table(
        {
            "Id": make_ids("Lead", number),
            "IsDeleted": col.constant("0", count),
            "LastName": col.codes("Lead ", number, 5),
            "Company": col.codes("Account ", account, 5),
            "Email": col.codes("lead", number, 5, "@example.org"),
            "Status": col.labels(_LEAD_STATES, status),
            "LeadSource": col.labels(
                voc.names(voc.LEAD_SOURCES),
                np.where(is_converted, data.source[link], rng.integers(0, len(voc.LEAD_SOURCES), count)),
            ),
            "Industry": col.labels(voc.names(voc.INDUSTRIES), accounts_.industry[account]),
            "NumberOfEmployees": col.integers(accounts_.employees[account]),
            "Country": col.labels(voc.names(voc.COUNTRIES), accounts_.country[account]),
            "OwnerId": col.pick(keys.users, np.where(is_converted, data.first_owner[link], accounts_.owner[account])),
            "IsConverted": col.flags(is_converted),
            "ConvertedDate": col.dates(np.where(is_converted, changed_at // 86_400, -1)),
            "ConvertedAccountId": col.pick(keys.accounts, np.where(is_converted, account, -1)),
            "ConvertedContactId": col.pick(keys.contacts, np.where(is_converted, data.contact[link], -1)),
            "ConvertedOpportunityId": col.pick(keys.opportunities, link),
            "CreatedDate": col.instants(created_at),
            "LastModifiedDate": col.instants(changed_at),
            "SystemModstamp": col.instants(changed_at),
        }
    )
    return unordered.take(pa.array(order))
