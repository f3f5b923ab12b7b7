"""Which proposals fit into the day: hold-out, one per account and contact, capacity of each owner.

Greedy by expected gain per minute over all owners: the density rule of the knapsack problem (Dantzig, "Discrete-Variable
Extremum Problems", 1957), with one item per account and per contact.

Belongs here: weighing proposals against each other. Does not belong here: what a proposal is (rules).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.rules import Omission, Proposal, is_held_out


def allocate(
    proposals: Iterable[Proposal], params: FollowUpParams, rates: Mapping[str, Decimal] | None = None
) -> tuple[list[Proposal], list[Omission]]:
    """The proposals taken, at most one per opportunity, in falling order of gain per minute, and the opportunities left out with their reasons.

    Amounts of several currencies are compared in the corporate currency by `rates` (units of a currency for one of the
    corporate currency). Proposals whose gain cannot be compared (no amount known, or no rate among several currencies) come after
    the others, by probability at risk per minute.
    """
    taken: list[Proposal] = []
    left: list[Omission] = []
    minutes: dict[str, int] = defaultdict(int)
    rows: dict[str, int] = defaultdict(int)
    accounts: dict[str, str] = {}
    contacts: dict[str, str] = {}
    everyone = list(proposals)
    values = comparable_gains(everyone, rates or {})
    for proposal in _best_of_each(everyone, values):
        situation = proposal.situation
        owner, account, contact = situation.owner_id or "", situation.account_id, situation.contact_id
        if is_held_out(situation, params):
            left.append(Omission(situation, "hold_out", "Kept out at random to measure the effect of following up"))
        elif account is not None and account in accounts:
            detail = f"Opportunity {accounts[account]} of the same account is in the queue"
            left.append(Omission(situation, "duplicate_account", detail))
        elif contact is not None and contact in contacts:
            detail = f"Opportunity {contacts[contact]} with the same contact is in the queue"
            left.append(Omission(situation, "duplicate_account", detail))
        elif (
            minutes[owner] + proposal.minutes > params.capacity_minutes_per_day
            or rows[owner] >= params.max_rows_per_owner
        ):
            left.append(Omission(situation, "capacity", _full(minutes[owner], rows[owner], proposal, params)))
        else:
            taken.append(proposal)
            minutes[owner] += proposal.minutes
            rows[owner] += 1
            if account is not None:
                accounts[account] = situation.opportunity_id
            if contact is not None:
                contacts[contact] = situation.opportunity_id
    return taken, left


def _full(minutes: int, rows: int, proposal: Proposal, params: FollowUpParams) -> str:
    return (
        f"Better follow-ups take {minutes} of {params.capacity_minutes_per_day} minutes in {rows} rows; "
        f"this one takes {proposal.minutes} minutes"
    )


def _best_of_each(proposals: list[Proposal], values: Mapping[tuple[str, str, str], Decimal]) -> list[Proposal]:
    """The proposal of each opportunity that gains most per minute (of equals the first proposed), best first."""
    best: dict[tuple[str, str], Proposal] = {}
    for proposal in sorted(proposals, key=lambda proposal: _order(proposal, values)):
        best.setdefault((proposal.situation.source_system, proposal.situation.opportunity_id), proposal)
    return list(best.values())


def comparable_gains(
    proposals: Iterable[Proposal], rates: Mapping[str, Decimal]
) -> dict[tuple[str, str, str], Decimal]:
    """Expected gain of each proposal by (source_system, opportunity_id, action) in one currency; absent where it cannot be compared."""
    known = [p for p in proposals if p.expected_gain is not None]
    is_single = len({p.situation.currency for p in known}) <= 1
    gains = {}
    for proposal in known:
        rate = Decimal(1) if is_single else rates.get(proposal.situation.currency)
        if rate and proposal.expected_gain is not None:
            gains[_key(proposal)] = proposal.expected_gain / rate
    return gains


def _key(proposal: Proposal) -> tuple[str, str, str]:
    return proposal.situation.source_system, proposal.situation.opportunity_id, proposal.action


def _order(
    proposal: Proposal, values: Mapping[tuple[str, str, str], Decimal]
) -> tuple[int, Decimal, float, tuple[str, str]]:
    key = proposal.situation.source_system, proposal.situation.opportunity_id
    value = values.get(_key(proposal))
    at_risk = (proposal.situation.owner_free_probability or 0.0) * proposal.risk_share / proposal.minutes
    if value is None:
        return 1, Decimal(0), -at_risk, key
    return 0, -value / proposal.minutes, -at_risk, key
