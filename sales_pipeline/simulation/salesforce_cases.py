"""Service cases of a simulated world's customers, with a survey score where the customer answered.

Drawn from a generator of their own, so that every other draw of a world stays as it is. Satisfaction follows the account's hidden fit.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation.dynamics import CLOSED_WON, Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.salesforce_records import Keys
from sales_pipeline.simulation.world import World

_DAY = 86_400
CASES_PER_YEAR = 1.2
ANSWERED_SHARE = 0.6
_STATUS = ("New", "Closed")
_PRIORITIES = ("Low", "Medium", "High")


def cases(world: World, keys: Keys) -> pa.Table:
    """One row per case of an account that has won: opened at random after its first win, closed after some days, scored 1 to 5 by a survey.

    Cases not closed before the export's as-of have neither a closing date nor a score.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((world.params.seed, 3))))
    people = world.population
    won = world.is_closed & (world.final_stage == CLOSED_WON)
    first_win = np.full(len(people.accounts.owner), world.end_at, dtype=np.int64)
    np.minimum.at(first_win, people.opportunities.account[won], world.closed_at[won])
    years = (world.end_at - first_win) / (365 * _DAY)
    account: Ints = np.repeat(np.arange(len(years)), rng.poisson(CASES_PER_YEAR * years))
    count = len(account)
    opened_at = first_win[account] + (rng.random(count) * (world.end_at - 1 - first_win[account])).astype(np.int64)
    order = np.lexsort((account, opened_at))
    account, opened_at = account[order], opened_at[order]
    closed_at = opened_at + 3_600 + rng.gamma(1.2, 5.0 * _DAY, count).astype(np.int64)
    is_closed = closed_at < world.end_at
    has_answered = is_closed & (rng.random(count) < ANSWERED_SHARE)
    felt = 3.7 + 1.3 * people.accounts.fit[account] + rng.normal(0.0, 0.9, count)
    score = np.clip(np.round(felt), 1, 5).astype(np.int64)
    contact = people.accounts.first_contact[account]
    changed_at = np.where(is_closed, closed_at, opened_at)
    return col.table(
        {
            "Id": make_ids("Case", np.arange(count)),
            "IsDeleted": col.constant("0", count),
            "CaseNumber": col.codes("", np.arange(count), 8),
            "AccountId": col.pick(keys.accounts, account),
            "ContactId": col.pick(keys.contacts, contact),
            "Status": col.labels(_STATUS, is_closed.astype(np.int64)),
            "Priority": col.labels(_PRIORITIES, rng.integers(0, 3, count)),
            "IsClosed": col.flags(is_closed),
            "CreatedDate": col.instants(opened_at),
            "ClosedDate": col.instants(np.where(is_closed, closed_at, -1)),
            "CSAT__c": col.integers(np.where(has_answered, score, -1)),
            "LastModifiedDate": col.instants(changed_at),
            "SystemModstamp": col.instants(changed_at),
        }
    )
