"""A simulated world's opportunities, their history, products and stages as the tables of a Salesforce org.

Everything text, before any dirt. Belongs here: which column says what, and which columns are planted leaks.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation import vocabulary as voc
from sales_pipeline.simulation.dynamics import CLOSED_LOST, CLOSED_WON, STAGE_NAMES, STAGE_PROBABILITIES, Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.journal import stage_probability
from sales_pipeline.simulation.salesforce_records import Keys
from sales_pipeline.simulation.world import World

_FORECAST = ("Pipeline", "Pipeline", "BestCase", "Forecast", "Closed", "Omitted")
_FORECAST_NAMES = ("Pipeline", "Pipeline", "Best Case", "Commit", "Closed", "Omitted")
_NEXT_STEPS = ("Qualify need", "Arrange demonstration", "Send proposal", "Agree terms")
_LOSS_REASONS = ("Price", "No decision", "Lost to competitor", "No budget", "Timing")


def current_positions(world: World) -> Ints:
    """Per opportunity, the position of its last history row: what the record says at the export."""
    owner = world.trace.history_opportunity
    return np.searchsorted(owner, np.arange(world.params.opportunities), side="right") - 1


def stages() -> pa.Table:
    """One row per stage of the sales process."""
    count = len(STAGE_NAMES)
    number = np.arange(count)
    return col.table(
        {
            "Id": make_ids("OpportunityStage", number),
            "MasterLabel": col.labels(STAGE_NAMES, number),
            "ApiName": col.labels(STAGE_NAMES, number),
            "IsActive": col.constant("1", count),
            "SortOrder": col.integers(number + 1),
            "IsClosed": col.flags(number >= CLOSED_WON),
            "IsWon": col.flags(number == CLOSED_WON),
            "ForecastCategory": col.labels(_FORECAST, number),
            "ForecastCategoryName": col.labels(_FORECAST_NAMES, number),
            "DefaultProbability": col.integers(np.array(STAGE_PROBABILITIES)),
        }
    )


def opportunities(world: World, keys: Keys, last_activity_day: Ints, rng: Generator) -> pa.Table:
    """One row per opportunity as the export sees it. `last_activity_day`: days since 1970-01-01, -1 for none.

    `Loss_Reason__c`, `Contract_Number__c`, `Days_To_Close__c` and `Final_Discount__c` are filled at closing alone:
    planted leaks. `Business_Unit__c` is a constant, `External_Ref__c` an identifier.
    """
    data, trace = world.population.opportunities, world.trace
    count = world.params.opportunities
    number = np.arange(count)
    last = current_positions(world)
    stage = trace.history_stage[last]
    closed, won = stage >= CLOSED_WON, stage == CLOSED_WON
    changed_at = np.maximum.reduce([trace.history_at[last], trace.budget_at, data.handed_over_at])
    region = np.array([voc.TEAMS.index(name) for name in voc.REGION_OF_COUNTRY])
    loss_weights = np.where((data.competitor > 0)[:, None], [0.3, 0.2, 0.3, 0.1, 0.1], [0.25, 0.4, 0.0, 0.2, 0.15])
    loss_reason = (rng.random(count)[:, None] > np.cumsum(loss_weights, axis=1)[:, :-1]).sum(axis=1)
    step = np.where(closed, rng.integers(0, len(_NEXT_STEPS), count), np.minimum(stage, len(_NEXT_STEPS) - 1))
    step = np.where(rng.random(count) < 0.25, -1, step)
    cycle_days = np.where(closed, world.closed_at // 86_400 - data.created_at // 86_400, -1)
    campaign = np.where(data.source == 3, number % 12, -1)
    return col.table(
        {
            "Id": keys.opportunities,
            "IsDeleted": col.constant("0", count),
            "AccountId": col.pick(keys.accounts, data.account),
            "Name": col.codes("Opportunity ", number, 6),
            "Description": col.labels(
                ("", "Asked for a quote", "Renewal of last year's scope"), rng.integers(0, 3, count)
            ),
            "StageName": col.labels(STAGE_NAMES, stage),
            "Amount": col.amounts(trace.history_amount[last]),
            "Probability": col.integers(stage_probability(stage)),
            "CloseDate": col.dates(trace.history_close_day[last]),
            "Type": col.labels(voc.names(voc.TYPES), data.type),
            "NextStep": col.labels(_NEXT_STEPS, step),
            "LeadSource": col.labels(voc.names(voc.LEAD_SOURCES), data.source),
            "IsClosed": col.flags(closed),
            "IsWon": col.flags(won),
            "ForecastCategory": col.labels(_FORECAST, stage),
            "ForecastCategoryName": col.labels(_FORECAST_NAMES, stage),
            "CampaignId": col.pick(make_ids("Campaign", np.arange(12)), campaign),
            "HasOpportunityLineItem": col.constant("1", count),
            "OwnerId": col.pick(keys.users, data.owner),
            "ContactId": col.pick(keys.contacts, data.contact),
            "CreatedDate": col.instants(data.created_at),
            "CreatedById": col.pick(keys.users, data.first_owner),
            "LastModifiedDate": col.instants(changed_at),
            "SystemModstamp": col.instants(changed_at),
            "LastActivityDate": col.dates(last_activity_day),
            "Competitor__c": col.labels(voc.names(voc.COMPETITORS), data.competitor),
            "Budget_Confirmed__c": col.flags(trace.budget_at >= 0),
            "Region__c": col.labels(voc.TEAMS, region[world.population.accounts.country[data.account]]),
            "Loss_Reason__c": col.where(stage == CLOSED_LOST, col.labels(_LOSS_REASONS, loss_reason)),
            "Contract_Number__c": col.where(won, col.codes("C-", number, 6)),
            "Days_To_Close__c": col.integers(cycle_days),
            "Final_Discount__c": col.amounts(100.0 * trace.discount, 1),
            "Business_Unit__c": col.constant("Sales", count),
            "External_Ref__c": col.codes("EXT-", number * 7 % 999_983, 7),
        }
    )


def opportunity_history(world: World, keys: Keys) -> pa.Table:
    """One row per creation and per change of stage, amount, probability or close date, each with all four values."""
    trace = world.trace
    count = len(trace.history_at)
    stage, probability = trace.history_stage, stage_probability(trace.history_stage)
    owner = world.population.opportunities.owner[trace.history_opportunity]
    order = np.lexsort((trace.history_opportunity, trace.history_at))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    return col.table(
        {
            "Id": make_ids("OpportunityHistory", rank),
            "IsDeleted": col.constant("0", count),
            "OpportunityId": col.pick(keys.opportunities, trace.history_opportunity),
            "CreatedById": col.pick(keys.users, owner),
            "CreatedDate": col.instants(trace.history_at),
            "StageName": col.labels(STAGE_NAMES, stage),
            "Amount": col.amounts(trace.history_amount),
            "ExpectedRevenue": col.amounts(trace.history_amount * probability / 100.0),
            "CloseDate": col.dates(trace.history_close_day),
            "Probability": col.integers(probability),
            "ForecastCategory": col.labels(_FORECAST, stage),
            "SystemModstamp": col.instants(trace.history_at),
        }
    )


def opportunity_field_history(world: World, keys: Keys) -> pa.Table:
    """Hand-overs (`Owner`) and confirmed budgets (`Budget_Confirmed__c`), in order of time."""
    data, trace = world.population.opportunities, world.trace
    handed = np.flatnonzero((data.handed_over_at >= 0) & (data.handed_over_at < world.end_at))
    confirmed = np.flatnonzero(trace.budget_at >= 0)
    opportunity = np.concatenate((handed, confirmed))
    at = np.concatenate((data.handed_over_at[handed], trace.budget_at[confirmed]))
    is_owner = np.arange(len(opportunity)) < len(handed)
    order = np.lexsort((opportunity, at))
    opportunity, at, is_owner = opportunity[order], at[order], is_owner[order]
    return col.table(
        {
            "Id": make_ids("OpportunityFieldHistory", np.arange(len(at))),
            "IsDeleted": col.constant("0", len(at)),
            "OpportunityId": col.pick(keys.opportunities, opportunity),
            "CreatedById": col.pick(keys.users, data.owner[opportunity]),
            "CreatedDate": col.instants(at),
            "Field": col.where(is_owner, col.constant("Owner", len(at)), "Budget_Confirmed__c"),
            "DataType": col.where(is_owner, col.constant("EntityId", len(at)), "Boolean"),
            "OldValue": col.where(is_owner, col.pick(keys.users, data.first_owner[opportunity]), "false"),
            "NewValue": col.where(is_owner, col.pick(keys.users, data.owner[opportunity]), "true"),
        }
    )


def line_items(world: World, keys: Keys, rng: Generator) -> pa.Table:
    """What was offered at creation: the main product, and for some one or two more."""
    data = world.population.opportunities
    count = world.params.opportunities
    extras = np.minimum(rng.poisson(0.45, count), 2)
    owner = np.repeat(np.arange(count), 1 + extras)
    is_first = np.concatenate(([True], owner[1:] != owner[:-1]))
    product = np.where(is_first, data.product[owner], rng.integers(0, len(voc.PRODUCTS), len(owner)))
    share = np.where(is_first, 1.0 - 0.15 * extras[owner], 0.15)
    price = voc.LIST_PRICES[product]
    total = np.where(np.isnan(data.first_amount), data.budget, data.first_amount)[owner] * share
    quantity = np.maximum(1, np.round(total / price)).astype(np.int64)
    unit = np.round(np.clip(total / quantity, 0.6 * price, price), 2)
    at = data.created_at[owner]
    return col.table(
        {
            "Id": make_ids("OpportunityLineItem", np.arange(len(owner))),
            "IsDeleted": col.constant("0", len(owner)),
            "OpportunityId": col.pick(keys.opportunities, owner),
            "Product2Id": col.pick(keys.products, product),
            "Quantity": col.amounts(quantity.astype(np.float64), 1),
            "ListPrice": col.amounts(price),
            "UnitPrice": col.amounts(unit),
            "TotalPrice": col.amounts(unit * quantity),
            "CreatedDate": col.instants(at),
            "LastModifiedDate": col.instants(at),
            "SystemModstamp": col.instants(at),
        }
    )
