"""Who lives in the simulated world: sellers, accounts, contacts, products, opportunities and leads, with what is hidden about them.

Draws everything that is fixed before the first week. What happens week by week is `world`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sales_pipeline.simulation.dynamics import Calendar, Constants, Floats, Ints
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.vocabulary import (
    COMPETITORS,
    COUNTRIES,
    INDUSTRIES,
    LEAD_SOURCES,
    LIST_PRICES,
    PRODUCTS,
    REGION_OF_COUNTRY,
    TEAMS,
    TYPES,
    Category,
)

Bools = NDArray[np.bool_]


PERSUADABILITY = ("unmoved", "persuadable", "put_off")
_LIFTS = np.array([0.0, 2.2, -1.2])


@dataclass(frozen=True)
class Sellers:
    """One element per user: first the sellers, then a desk that hands opportunities over, managers per team, one director."""

    seller_count: int
    team: Ints
    manager: Ints
    is_active: Bools
    skill: Floats
    contact_habit: Floats
    amount_bias: Floats

    @property
    def desk(self) -> int:
        """The user who enters some opportunities and hands them to a seller."""
        return self.seller_count


@dataclass(frozen=True)
class Accounts:
    """One element per account; `fit` is hidden and shared by the account's opportunities."""

    industry: Ints
    country: Ints
    employees: Ints
    revenue: Floats
    created_at: Ints
    fit: Floats
    owner: Ints
    first_contact: Ints
    contact_count: Ints


@dataclass(frozen=True)
class Contacts:
    """One element per contact."""

    account: Ints
    has_opted_out: Bools
    do_not_call: Bools


@dataclass(frozen=True)
class Opportunities:
    """One element per opportunity, in order of creation; instants in seconds since 1970-01-01 UTC, days likewise.

    `budget` is what the customer would pay before the discount; `discount_mean` the mean of the Beta(4, 4 (1/m - 1))
    discount taken at signing. Both are hidden.
    """

    account: Ints
    contact: Ints
    owner: Ints
    first_owner: Ints
    handed_over_at: Ints
    created_at: Ints
    source: Ints
    product: Ints
    competitor: Ints
    type: Ints
    first_close_day: Ints
    first_amount: Floats
    budget: Floats
    discount_mean: Floats
    price_pressure: Floats
    persuadability: Ints
    first_engagement: Ints
    from_lead: Bools
    constants: Constants


@dataclass(frozen=True)
class Population:
    """Everything fixed before the first week."""

    sellers: Sellers
    accounts: Accounts
    contacts: Contacts
    opportunities: Opportunities


def draw_population(params: WorldParams, calendar: Calendar, rng: Generator) -> Population:
    """Draw everything fixed; the same generator state gives the same population."""
    sellers = _draw_sellers(params, rng)
    accounts, contacts = _draw_accounts(params, calendar, sellers, rng)
    return Population(sellers, accounts, contacts, _draw_opportunities(params, calendar, sellers, accounts, rng))


def workday_instant(week_day: Ints | int, position: Floats, calendar: Calendar) -> Ints:
    """The second that lies `position` (0-1) through the working time of the week starting on `week_day`.

    Working time is 08:00-18:00 UTC on the five workdays, so the order of positions is the order of instants.
    """
    scaled = np.minimum(position, 1.0 - 1e-9) * 5.0
    offset = scaled.astype(np.int64)
    day = week_day + np.array(calendar.workdays, dtype=np.int64)[offset]
    return np.asarray(day * 86_400 + 28_800 + ((scaled - offset) * 36_000).astype(np.int64))


def _effects(categories: tuple[Category, ...]) -> Floats:
    return np.array([category.effect for category in categories])


def _choose(categories: tuple[Category, ...], count: int, rng: Generator) -> Ints:
    weights = np.array([category.weight for category in categories])
    return rng.choice(len(categories), size=count, p=weights / weights.sum())


def _draw_sellers(params: WorldParams, rng: Generator) -> Sellers:
    seller_count = int(np.clip(params.opportunities // 125, 6, 400))
    manager_count = max(len(TEAMS), seller_count // 8)
    total = seller_count + 1 + manager_count + 1
    first_manager, director = seller_count + 1, total - 1
    team = np.zeros(total, dtype=np.int64)
    team[:seller_count] = rng.choice(len(TEAMS), size=seller_count, p=[0.45, 0.38, 0.17])
    team[: len(TEAMS)] = np.arange(len(TEAMS))
    team[first_manager:director] = np.arange(manager_count) % len(TEAMS)
    manager = np.full(total, director, dtype=np.int64)
    for number in range(seller_count):
        candidates = np.flatnonzero(team[first_manager:director] == team[number]) + first_manager
        manager[number] = candidates[number % len(candidates)]
    manager[director] = -1
    is_active = np.ones(total, dtype=np.bool_)
    is_active[rng.permutation(seller_count)[: seller_count // 12]] = False
    return Sellers(
        seller_count=seller_count,
        team=team,
        manager=manager,
        is_active=is_active,
        skill=rng.normal(0.0, 0.45, total),
        contact_habit=rng.normal(-0.55, 0.6, total),
        amount_bias=rng.normal(0.06, 0.10, total),
    )


def _draw_accounts(
    params: WorldParams, calendar: Calendar, sellers: Sellers, rng: Generator
) -> tuple[Accounts, Contacts]:
    count = max(8, params.opportunities // 3)
    country = _choose(COUNTRIES, count, rng)
    team = np.array([TEAMS.index(region) for region in REGION_OF_COUNTRY])[country]
    employees = np.clip(np.exp(rng.normal(4.9, 1.4, count)), 2, 200_000).astype(np.int64)
    owner = _seller_of_team(team, sellers, rng)
    contact_count = 1 + rng.poisson(0.8, count)
    accounts = Accounts(
        industry=_choose(INDUSTRIES, count, rng),
        country=country,
        employees=employees,
        revenue=np.round(employees * np.exp(rng.normal(11.9, 0.5, count)), -3),
        created_at=(calendar.first_day - rng.integers(1, 900, count)) * 86_400 + rng.integers(28_800, 64_800, count),
        fit=rng.normal(0.0, 0.30, count),
        owner=owner,
        first_contact=np.concatenate(([0], np.cumsum(contact_count)[:-1])),
        contact_count=contact_count,
    )
    total = int(contact_count.sum())
    contacts = Contacts(
        account=np.repeat(np.arange(count), contact_count),
        has_opted_out=rng.random(total) < 0.06,
        do_not_call=rng.random(total) < 0.05,
    )
    return accounts, contacts


def _seller_of_team(team: Ints, sellers: Sellers, rng: Generator) -> Ints:
    """A seller of the team for each element, uniformly."""
    seller = np.zeros(len(team), dtype=np.int64)
    for number in range(len(TEAMS)):
        members = np.flatnonzero(sellers.team[: sellers.seller_count] == number)
        mine = team == number
        seller[mine] = members[rng.integers(0, len(members), int(mine.sum()))]
    return seller


def _draw_opportunities(
    params: WorldParams, calendar: Calendar, sellers: Sellers, accounts: Accounts, rng: Generator
) -> Opportunities:
    count = params.opportunities
    week, created_at = _draw_creation(params, calendar, rng)
    popularity = rng.gamma(0.8, 1.0, len(accounts.owner)) + 0.05
    account = rng.choice(len(popularity), size=count, p=popularity / popularity.sum())
    follows = _has_earlier(account)
    source = _choose(LEAD_SOURCES, count, rng)
    kind = (follows & (rng.random(count) < 0.75)).astype(np.int64)
    competitor = _choose(COMPETITORS, count, rng)
    log_size = np.log(accounts.employees[account]) - 4.9
    product = np.clip(_choose(PRODUCTS, count, rng) + (log_size > 1.5) - (log_size < -1.5), 0, len(PRODUCTS) - 1)
    own_team = np.array([TEAMS.index(region) for region in REGION_OF_COUNTRY])[accounts.country[account]]
    owner = np.where(rng.random(count) < 0.6, accounts.owner[account], _seller_of_team(own_team, sellers, rng))
    price_pressure = rng.normal(0.0, 1.0, count) + 0.4 * (competitor > 0)
    middle_sized = np.abs(log_size) < 1.0
    persuadability = _draw_persuadability(middle_sized, source, rng)
    win_index = (
        -0.2
        + _effects(INDUSTRIES)[accounts.industry[account]]
        + _effects(LEAD_SOURCES)[source]
        + _effects(COMPETITORS)[competitor]
        + _effects(TYPES)[kind]
        + _effects(PRODUCTS)[product]
        + 0.20 * np.where(middle_sized, 1.0, -1.0)
        + accounts.fit[account]
        + sellers.skill[owner]
        - 0.25 * price_pressure
        + rng.normal(0.0, 1.0, count) * params.unseen_spread
    )
    budget = LIST_PRICES[product] * np.exp(rng.normal(1.6, 0.55, count) + 0.18 * log_size)
    first_amount = np.round(budget * np.exp(sellers.amount_bias[owner] + rng.normal(0.0, 0.4, count)), -2)
    first_amount[rng.random(count) < 0.10] = np.nan
    handed_over = rng.random(count) < 0.12
    wait = rng.integers(600, 20_000, count)
    return Opportunities(
        account=account,
        contact=accounts.first_contact[account]
        + (rng.random(count) * accounts.contact_count[account]).astype(np.int64),
        owner=owner,
        first_owner=np.where(handed_over, sellers.desk, owner),
        handed_over_at=np.where(handed_over, created_at + wait, -1),
        created_at=created_at,
        source=source,
        product=product,
        competitor=competitor,
        type=kind,
        first_close_day=_snap_to_month_end(
            created_at // 86_400 + 30 + (rng.gamma(3.0, 22.0, count)).astype(np.int64), rng.random(count) < 0.5
        ),
        first_amount=first_amount,
        budget=budget,
        discount_mean=np.clip(0.05 + 0.03 * (price_pressure + 1.0), 0.02, 0.25),
        price_pressure=price_pressure,
        persuadability=persuadability,
        first_engagement=np.clip(np.round(rng.normal(1.6, 0.6, count) + 0.3 * win_index), 0, 3).astype(np.int64),
        from_lead=np.isin(source, (0, 3, 4)) & (rng.random(count) < 0.2),
        constants=Constants(
            win_index, sellers.contact_habit[owner] + np.log(params.contact_rate), _LIFTS[persuadability], week
        ),
    )


def _draw_creation(params: WorldParams, calendar: Calendar, rng: Generator) -> tuple[Ints, Ints]:
    """Week and instant of creation, in order of time. Creations per week grow linearly by `growth` over the period."""
    uniform = rng.random(params.opportunities)
    growth = params.growth
    through = uniform if growth == 0.0 else (np.sqrt(1.0 + uniform * growth * (2.0 + growth)) - 1.0) / growth
    week = np.minimum((through * calendar.week_count).astype(np.int64), calendar.week_count - 1)
    instant = workday_instant(calendar.first_day + 7 * week, rng.random(params.opportunities) * 0.95, calendar)
    order = np.argsort(instant, kind="stable")
    return week[order], instant[order]


def _has_earlier(account: Ints) -> Bools:
    """True where the account already had an opportunity."""
    _, first = np.unique(account, return_index=True)
    follows = np.ones(len(account), dtype=np.bool_)
    follows[first] = False
    return follows


def _draw_persuadability(middle_sized: Bools, source: Ints, rng: Generator) -> Ints:
    """0 unmoved, 1 persuadable, 2 put off by follow-ups; middle-sized accounts are more often persuadable, bought lists put off."""
    put_off = np.where(source == 5, 0.35, 0.10)
    persuadable = np.where(middle_sized, 0.60, 0.30) * (1.0 - put_off)
    draw = rng.random(len(source))
    return np.where(draw < put_off, 2, np.where(draw < put_off + persuadable, 1, 0))


def _snap_to_month_end(days: Ints, chosen: Bools) -> Ints:
    """The last day of the month where chosen, else the day itself; days since 1970-01-01."""
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    ends = (months + 1).astype("datetime64[D]").astype(np.int64) - 1
    return np.where(chosen, ends, days)
